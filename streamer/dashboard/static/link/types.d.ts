// What the server sends, as `streamer/dashboard/wire.py` explains it, and what the page asks for.

export type Theme = "dark" | "light";
export type Stacked = "sum" | "highest";
export type XAxis = "time" | "frame";
export type Place = [row: number, col: number];
export type Values =
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Int8Array
  | Int16Array
  | Int32Array
  | Float32Array
  | Float64Array;

interface Entry {
  name: string;
  dtype: "u1" | "u2" | "u4" | "i1" | "i2" | "i4" | "f4" | "f8";
  shape: number[];
  offset: string;
  packed?: number;
}

/** What the header of each message has. */
export interface Header {
  type: string;
  arrays: Entry[];
}

export interface Hello extends Header {
  run: string;
  started?: string;
  listed?: boolean;
  source?: string;
  live: boolean;
  state: string;
  software?: string;
  series: string[];
  starts: number[];
  quantities: string[];
  n_frames: number;
  shape: Place | null;
}

export interface Health extends Header {
  live: boolean;
  phase?: string;
  frames_in_hz: number | null;
  frames_out_hz: number | null;
  latency_ms: number | null;
  seen_ms?: number | null;
  backlog: number;
  lost: string;
  alarm?: boolean;
  frames?: { [state: string]: number };
  disagreement_px: number | null;
  dropped?: number;
  elapsed_s: number;
  stale_s: number;
  n_frames?: number;
  hosts?: string;
}

export interface ImageHeader extends Header {
  series: string;
  frame: number;
  time_ns: number;
  shape: Place;
  binning: number;
  low: number;
  high: number;
  knee: number;
  has_pixels: boolean;
  coarse?: boolean;
  stack?: Stacked | null;
  provisional?: boolean;
  why?: string;
}

/** Of each peak on a frame. */
export interface PeakArrays {
  row: Float32Array;
  col: Float32Array;
  row_sigma: Float32Array;
  col_sigma: Float32Array;
  score: Float32Array;
  flags: Int32Array;
  track: Float64Array;
}

export interface ImageArrays extends PeakArrays {
  pixels: Uint8Array;
}

export interface TracksHeader extends Header {
  n_frames: number;
  timeline: [frames: number[], times: number[]];
  memory_frames?: number;
}

/** Columns of the tracks table; any may be missing. */
export interface TrackArrays {
  [column: string]: Int32Array | Float64Array;
}

export interface DriftHeader extends Header {
  quantity: string;
  unit: string;
  x: XAxis;
  still?: boolean;
  names?: { [line: string]: string };
  request: number;
  number: number;
  base: number | null;
  lines: [track: number, drop: number, keep: number, add: number][];
}

export interface Columns {
  x: Float64Array;
  y: Float32Array;
  sigma: Float32Array;
}

export interface HalfCycle {
  kind: string;
  guess: boolean;
  start: number;
  stop: number;
  start_frame: number | null;
  stop_frame: number | null;
}

export interface CellHeader extends Header {
  half_cycles: HalfCycle[];
}

export interface CellArrays {
  time: Float64Array;
  frame: Float64Array;
  voltage: Float32Array;
  current: Float32Array;
  capacity?: Float32Array;
}

export interface Fit {
  row: number;
  col: number;
  row_sigma: number;
  col_sigma: number;
}

export interface PatchHeader extends Header {
  series: string;
  frame: number;
  origin: Place;
  placed: Place;
  fit: Fit | null;
  why: string;
}

/** The detector's place, as `streamer.frames.geometry.Geometry` has it. */
export interface DetectorPlace {
  rotation: number[];
  distance_m: number;
  poni1_m: number;
  poni2_m: number;
  pixel1_m: number;
  pixel2_m: number;
  wavelength_a: number | null;
}

export interface GeometryHeader extends Header {
  place: DetectorPlace | null;
  beam: Place | null;
  rings: { d: number; words: string }[];
}

export interface RegionHeader extends Header {
  series: string;
  frame: number;
  shape: Place;
  origin: Place;
  binning: number;
  saturation: number | null;
  low: number | null;
  why: string;
}

export interface WholeHeader extends RegionHeader {
  thresholds: string;
}

export interface RegionArrays {
  counts: Values;
  marks: Uint8Array;
}

export interface RoiHeader extends Header {
  row: number;
  col: number;
  rows: number;
  cols: number;
  why: string;
}

export interface RoiArrays {
  frame: Float64Array;
  time: Float64Array;
  sum: Float64Array;
  pixels: Float64Array;
}

export interface PointHeader extends Header {
  series: string;
  frame: number;
  row: number;
  col: number;
  counts: number | null;
  marks: number;
  saturation: number | null;
  why: string;
}

/** Counts, or what the run works out for each frame. */
export type Threshold = number | "auto";

export interface ThresholdChange {
  time_ns: number;
  minval: Threshold;
  minscore: Threshold;
  series: string | null;
  frame: number | null;
}

export interface ThresholdsHeader extends Header {
  minval: Threshold;
  minscore: Threshold;
  changes: ThresholdChange[];
  waiting: ThresholdChange | null;
  can_change: boolean;
  can_try: boolean;
}

export interface PreviewHeader extends Header {
  series: string;
  frame: number;
  binning: number;
  why: string;
}

export interface PreviewArrays {
  row: Float32Array;
  col: Float32Array;
  score: Float32Array;
}

export interface Problem extends Header {
  text: string;
}

/** By the type of a message: what takes it in. */
export interface Receivers {
  hello(header: Hello): void;
  health(header: Health): void;
  image(header: ImageHeader, arrays: ImageArrays): void;
  tracks(header: TracksHeader, arrays: TrackArrays): void;
  drift(header: DriftHeader, arrays: Columns): void;
  cell(header: CellHeader, arrays: CellArrays): void;
  patch(header: PatchHeader, arrays: { pixels: Float32Array }): void;
  geometry(header: GeometryHeader): void;
  region(header: RegionHeader, arrays: RegionArrays): void;
  whole(header: RegionHeader, arrays: RegionArrays): void;
  roi(header: RoiHeader, arrays: RoiArrays): void;
  mask(header: RegionHeader, arrays: { marks: Uint8Array }): void;
  point(header: PointHeader): void;
  problem(header: Problem): void;
}

export type Request =
  | {
      type: "watch";
      tracks: number[];
      quantity: string;
      x: XAxis;
      from: number | null;
      to: number | null;
      points: number;
      request: number;
    }
  | { type: "show"; frame: number | null; series: string | null; stack?: Stacked }
  | ({ type: "roi" } & { [name in "row" | "col" | "rows" | "cols"]: number })
  | { type: "patch"; series: string; frame: number; row: number; col: number }
  | { type: "region"; row: number; col: number; rows: number; cols: number; binning: number }
  | { type: "whole"; series: string; frame: number }
  | { type: "mask"; series: string; frame: number }
  | { type: "point"; series: string; frame: number; row: number; col: number }
  | { type: "preview"; minval: Threshold | null; minscore: Threshold | null }
  | { type: "hold"; hold: boolean };

export type Send = (request: Request) => void;

/** A peak of a frame, as it is pointed at. */
export interface Peak {
  series: string;
  frame: number;
  row: number;
  col: number;
  row_sigma: number;
  col_sigma: number;
  score: number;
  flags: number;
  track: number;
}
