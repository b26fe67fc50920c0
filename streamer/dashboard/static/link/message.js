// A message of the run: a header in JSON and typed arrays that look into the received bytes.

/** @import { Header, Values } from "./types" */

const VIEWS = {
  u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i1: Int8Array, i2: Int16Array, i4: Int32Array,
  f4: Float32Array, f8: Float64Array,
};
const text = new TextDecoder();

/**
 * Return {header, arrays} of a binary message; throws where it does not hold together. Arrays that
 * are packed are the bytes that `unpack` makes values of.
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
  for (const { name, dtype, shape, offset, packed } of header.arrays) {
    const View = packed === undefined ? VIEWS[dtype] : Uint8Array;
    arrays[name] = new View(buffer, Number(offset), packed ?? sizeOf(shape));
  }
  return { header, arrays };
}

/** @param {Header} header */
export const isPacked = (header) => header.arrays.some(({ packed }) => packed !== undefined);

/**
 * Return the arrays of a message with those unpacked that were not.
 *
 * @param {Header} header
 * @param {Record<string, Values>} arrays
 * @returns {Promise<Record<string, Values>>}
 */
export async function unpack(header, arrays) {
  const unpacked = { ...arrays };
  for (const { name, dtype, shape, packed } of header.arrays) {
    if (packed === undefined) continue;
    const [View, size] = [VIEWS[dtype], sizeOf(shape)];
    const planes = await inflated(/** @type {Uint8Array<ArrayBuffer>} */ (arrays[name]));
    const width = View.BYTES_PER_ELEMENT;
    if (planes.length !== size * width) throw new Error(`${name} is not whole`);
    unpacked[name] = new View(width === 1 ? planes.buffer : joined(planes, width).buffer);
  }
  return unpacked;
}

/** @param {Uint8Array<ArrayBuffer>} bytes */
async function inflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * Bring together the bytes of each value, of which the first stand before all the second ones.
 *
 * @param {Uint8Array} planes
 * @param {number} width
 */
function joined(planes, width) {
  const bytes = new Uint8Array(planes.length);
  const size = planes.length / width;
  for (let plane = 0; plane < width; plane += 1) {
    const from = plane * size;
    for (let i = 0, to = plane; i < size; i += 1, to += width) bytes[to] = planes[from + i];
  }
  return bytes;
}

/** @param {number[]} shape */
const sizeOf = (shape) => shape.reduce((product, n) => product * n, 1);
