// The connection to the run: keeps the newest message of each type until it is drawn, and comes
// back by itself.

/** @import { Request } from "./types" */

/** @typedef {{ buffer: ArrayBuffer, at: number }} Arrived a message, and when it came */

const FIRST_WAIT_S = 0.5;
const LONGEST_WAIT_S = 10;
const MOVED = 4000; // there is a newer run to be shown: who asks again gets it

export class Socket {
  /**
   * @param {URL} url where the run is watched
   * @param {() => void} onchange called when the connection comes or goes
   * @param {() => void} onstore called when a message has arrived
   */
  constructor(url, onchange, onstore) {
    this.url = url;
    this.onchange = onchange;
    this.onstore = onstore;
    this.open = false;
    this.everOpen = false;
    this.retryAt = 0;
    this.received = 0;
    this.replaced = 0;
    /** @type {Map<string, Arrived>} by type */
    this.slots = new Map();
    this.timer = 0;
    this.wait = FIRST_WAIT_S;
    this.socket = this.connect();
  }

  connect() {
    clearTimeout(this.timer);
    this.retryAt = 0;
    const socket = new WebSocket(this.url);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.open = this.everOpen = true;
      this.wait = FIRST_WAIT_S;
      this.onchange();
    };
    socket.onmessage = (event) => this.store(event.data);
    socket.onclose = ({ code }) => {
      this.open = false;
      if (code === MOVED) this.wait = 0;
      this.retryAt = performance.now() + this.wait * 1000;
      this.timer = setTimeout(() => this.connect(), this.wait * 1000);
      this.wait = Math.min(Math.max(2 * this.wait, FIRST_WAIT_S), LONGEST_WAIT_S);
      this.onchange();
    };
    return socket;
  }

  /**
   * Keep a message; the page looks at it when it draws next.
   *
   * @param {ArrayBuffer} buffer
   */
  store(buffer) {
    this.received += 1;
    const type = typeof buffer === "string" ? "text" : typeOf(buffer);
    if (this.slots.has(type)) this.replaced += 1;
    this.slots.set(type, { buffer, at: performance.now() });
    this.onstore();
  }

  /** Hand over what has come since the last call. */
  take() {
    const taken = [...this.slots];
    this.slots.clear();
    return taken;
  }

  /**
   * Send a request, if anyone listens; a new connection asks for everything again.
   *
   * @param {Request} request
   */
  send(request) {
    // Between the server's leaving and our hearing of it, a browser would complain.
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(request));
  }

  /** Seconds until the next try. */
  get retryIn() {
    return Math.max(0, (this.retryAt - performance.now()) / 1000);
  }
}

/**
 * The type stands first in the header: enough to file a message without reading it.
 *
 * @param {ArrayBuffer} buffer
 */
function typeOf(buffer) {
  const start = String.fromCharCode(...new Uint8Array(buffer, 0, Math.min(buffer.byteLength, 40)));
  return start.match(/"type":"(\w+)"/)?.[1] ?? "unknown";
}
