// Lines with their sigmas on a plot, each drawn in the way that takes less time.

import { enlarged } from "../wall.js";
import { scaleOf } from "./axes.js";
import { isDense, shapes } from "./lines.js";
import { Raster } from "./raster.js";

/** @import { Line } from "./lines.js" */

/** @typedef {Line & { colour: string, dash: number[] }} Curve */

const BAND = 0.2; // opacity of sigma
const [DENSE_PX, LOOSE_PX] = [1.6, 1.8]; // how wide lines are

export class Curves {
  constructor() {
    this.raster = new Raster();
  }

  /**
   * Draw curves within the plot's box, the first on top of the others.
   *
   * @param {uPlot} plot
   * @param {Curve[]} curves
   * @param {(raster: Raster) => void} [behind] draws what is to be behind them
   */
  draw(plot, curves, behind) {
    const { ctx, bbox } = plot;
    const { raster } = this;
    const ratio = (devicePixelRatio || 1) * enlarged();
    const scale = scaleOf(plot, "y");
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    raster.clear(bbox);
    const styled = curves.map((curve) => ({ ...curve, dash: curve.dash.map((length) => length * ratio) }));
    const dense = styled.filter((curve) => isDense(curve, scale)).reverse();
    const runs = dense.map((curve) => raster.trace(curve, scale));
    dense.forEach(({ colour, dash }, i) => raster.line(runs[i], colour, DENSE_PX * ratio, dash));
    dense.forEach(({ colour }, i) => raster.band(runs[i], colour, BAND, DENSE_PX * ratio));
    behind?.(raster);
    raster.show(ctx);
    const loose = styled.filter((curve) => !isDense(curve, scale));
    const drawn = loose.map((curve) => shapes(curve, scale));
    ctx.globalAlpha = BAND;
    loose.forEach(({ colour }, i) => {
      ctx.fillStyle = colour;
      ctx.fill(drawn[i].band);
    });
    ctx.globalAlpha = 1;
    ctx.lineJoin = "bevel";
    ctx.lineWidth = LOOSE_PX * ratio;
    loose.forEach(({ colour, dash }, i) => {
      const { stroke, points } = drawn[i];
      ctx.strokeStyle = ctx.fillStyle = colour;
      ctx.setLineDash(dash);
      ctx.stroke(stroke);
      if (points) ctx.fill(points);
    });
    ctx.restore();
  }
}
