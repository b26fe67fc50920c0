// The panels that stand by themselves, in the order in which they come onto the page. Whoever adds
// one names it here; `streamer/dashboard/panels.py` makes what it is told.

import { Against } from "./panels/against.js";
import { Health } from "./panels/health.js";
import { Pairs } from "./panels/pairs.js";
import { Quiver } from "./panels/quiver.js";
import { Thresholds } from "./panels/thresholds.js";
import { Tracks } from "./panels/tracks.js";

/** @import { Send, Theme } from "./link/types" */
/** @import { Cell } from "./panels/cell.js" */
/** @import { Drift } from "./panels/drift.js" */
/** @import { Image } from "./panels/image.js" */
/** @import { Lives } from "./panels/lives.js" */
/** @import { Stats } from "./link/stats.js" */
/** @import { Socket } from "./link/socket.js" */
/** @import { View } from "./view.js" */

/**
 * What a panel may use of the page.
 *
 * @typedef {object} Page
 * @property {Image} image
 * @property {Drift} drift
 * @property {Cell} cell
 * @property {Lives} lives which tracks are still seen
 * @property {View} view what the user chose to see
 * @property {() => Theme} theme
 * @property {Socket} socket
 * @property {Stats} stats
 * @property {Send} send
 * @property {(track: number) => void} choose take a track into the plot, or out of it
 * @property {() => void} schedule have what is dirty drawn
 */

/**
 * What the page does with a panel, beside what it does with each part that is drawn.
 *
 * @typedef {object} Told
 * @property {Record<string, (header: any, arrays: any) => void>} receivers by the type of a message
 * @property {string[]} [follows] choices of the view that make it dirty
 * @property {() => object} [report] what it shows, for the console and for tests
 */

/** @typedef {import("./round.js").Part & Told} Panel */

/** @type {(new (page: Page) => Panel)[]} */
export const PANELS = [Health, Thresholds, Quiver, Tracks, Against, Pairs];
