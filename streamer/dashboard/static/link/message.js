// A message of the run: a header in JSON and typed arrays that look into the received bytes.

/** @import { Header, Values } from "./types" */

const VIEWS = { u1: Uint8Array, i4: Int32Array, f4: Float32Array, f8: Float64Array };
const text = new TextDecoder();

/**
 * Return {header, arrays} of a binary message; throws where it does not hold together.
 *
 * @param {ArrayBuffer} buffer
 * @returns {{ header: Header, arrays: Record<string, Values> }}
 */
export function decode(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  /** @type {Header} */
  const header = JSON.parse(text.decode(new Uint8Array(buffer, 4, length)));
  /** @type {Record<string, Values>} */
  const arrays = {};
  for (const { name, dtype, shape, offset } of header.arrays) {
    const size = shape.reduce((product, n) => product * n, 1);
    arrays[name] = new VIEWS[dtype](buffer, Number(offset), size);
  }
  return { header, arrays };
}
