// The WebSocket: hello with the token, newest state, frames with their receipt, questions with their answers.
import { set, store } from "./store.js";

const decoder = new TextDecoder();
const answers = new Map();
const handlers = new Map();
let socket = null;
let asked = 0;
let token = "";
let name = "";

export const on = (kind, handler) => handlers.set(kind, handler);
export const connected = () => Boolean(socket && socket.readyState === WebSocket.OPEN && store.welcome);

// The token comes in the fragment, which browsers never send, and does not stay in the address bar.
export function readToken() {
  const given = new URLSearchParams(location.hash.slice(1));
  if (given.has("token")) {
    sessionStorage.setItem("token", given.get("token"));
    sessionStorage.setItem("name", given.get("name") || "");
    history.replaceState(null, "", location.pathname + location.search);
  }
  token = sessionStorage.getItem("token") || "";
  name = sessionStorage.getItem("name") || "";
}

export function send(message) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

// Ask and get the answer, or null where the link is gone: nothing is stored and sent later.
export function ask(message) {
  if (!connected()) return Promise.resolve(null);
  asked += 1;
  const id = asked;
  send({ ...message, id });
  return new Promise((resolve) => answers.set(id, resolve));
}

let acted = 0;
export async function act(verb, extra = {}) {
  acted += 1;
  const number = acted;
  set({ verdict: { verb, state: "requested", at: performance.now() } });
  const answer = await ask({ kind: "act", verb, ...extra });
  if (number !== acted) return answer; // a later act is what the page speaks of
  const done = answer && (answer.kept ? "confirmed" : "done, NOT ON RECORD");
  set({ verdict: answer ? { verb, state: answer.done ? done : "refused", reasons: answer.reasons, at: performance.now() }
    : { verb, state: "not sent", reasons: verb === "STOP" ? ["link lost: USE THE HARD E-STOP"] : ["link lost"], at: performance.now() } });
  return answer;
}

// All voxels of a layer that came without those that are only `outside`.
function unfolded(values, { box, outside }, [slices, rows, columns]) {
  const [[z0, z1], [y0, y1], [x0, x1]] = box;
  if (values.length === slices * rows * columns) return values;
  const whole = new values.constructor(slices * rows * columns);
  if (outside) whole.fill(outside);
  const width = x1 - x0;
  for (let z = z0, at = 0; z < z1; z += 1) {
    for (let y = y0; y < y1; y += 1, at += width) whole.set(values.subarray(at, at + width), (z * rows + y) * columns + x0);
  }
  return whole;
}

export function parseFrame(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(decoder.decode(new Uint8Array(buffer, 4, length)));
  let at = 4 + length;
  const layers = {};
  for (const row of header.layers) {
    const Type = row.type === "uint16" ? Uint16Array : Uint8Array;
    const values = new Type(buffer, at, row.bytes / Type.BYTES_PER_ELEMENT);
    layers[row.name] = { ...row, values: row.box ? unfolded(values, row, header.shape) : values };
    at += row.bytes + ((8 - (row.bytes % 8)) % 8);
  }
  return { ...header, layers };
}

function heard(event) {
  if (typeof event.data !== "string") {
    const frame = parseFrame(event.data);
    store.frames.set(frame.stream, frame);
    (handlers.get("frame") || (() => {}))(frame);
    return;
  }
  const message = JSON.parse(event.data);
  if (message.id && answers.has(message.id)) {
    answers.get(message.id)(message);
    answers.delete(message.id);
    return;
  }
  const handler = handlers.get(message.kind);
  if (handler) handler(message);
}

export function connect(onLost) {
  socket = new WebSocket(`ws://${location.host}/feed`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => send({ kind: "hello", token, name });
  socket.onmessage = heard;
  socket.onclose = (event) => {
    answers.forEach((resolve) => resolve(null));
    answers.clear();
    if (event.code === 1008 && event.reason.includes("token")) {
      sessionStorage.clear();
      token = "";
    }
    onLost(event.reason || "link lost");
    setTimeout(() => connect(onLost), 500);
  };
}
