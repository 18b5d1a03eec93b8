// The plain page: no files of others, only what must never be missing: alarms, phase, STOP, NOT LIVE.
const byId = (id) => document.getElementById(id);
let socket = null;
let heard = 0;
let asked = 0;
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) { sessionStorage.setItem("token", given); history.replaceState(null, "", location.pathname); }
const send = (message) => { if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message)); };

function act(verb) {
  asked += 1;
  byId("verdict").textContent = socket && socket.readyState === WebSocket.OPEN ? `${verb} requested` : `${verb} NOT SENT: USE THE HARD E-STOP`;
  send({ kind: "act", verb, values: {}, id: asked });
}

function show(state) {
  byId("phase").textContent = state.phase;
  byId("alarms").replaceChildren(...(state.alarms.length ? state.alarms : [null]).map((a) => {
    const row = document.createElement("p");
    row.className = a ? `alarm-line ${a.priority}` : "";
    row.textContent = a ? `${a.priority.toUpperCase()} ${a.text} since ${new Date(a.first_ns / 1e6).toTimeString().slice(0, 8)}, ${a.state}. Done: ${a.done}. Do: ${a.advice}.` : "= no alarm";
    return row;
  }));
  byId("streams").textContent = Object.entries(state.streams).map(([n, s]) => `${n} ${s.live ? `${(s.age_ms / 1000).toFixed(2)}s` : "NOT LIVE"}`).join("   ");
}

function connect() {
  socket = new WebSocket(`ws://${location.host}/feed`);
  socket.onopen = () => send({ kind: "hello", token: sessionStorage.getItem("token") || "" });
  socket.onmessage = (event) => {
    if (typeof event.data !== "string") return;
    const message = JSON.parse(event.data);
    if (message.kind === "state") { heard = performance.now(); show(message); }
    if (message.kind === "verdict") byId("verdict").textContent = `${message.verb} ${message.done ? "done" : `refused: ${message.reasons.join("; ")}`}`;
  };
  socket.onclose = () => { heard = 0; setTimeout(connect, 500); };
}

function watch() {
  document.body.classList.toggle("lapsed", !heard || performance.now() - heard > 600);
  requestAnimationFrame(watch);
}

addEventListener("keydown", (event) => {
  if (event.code === "Space") { event.preventDefault(); if (!event.repeat) act("STOP"); } else if (event.key === "a") act("ACKNOWLEDGE");
}, { capture: true });
addEventListener("keyup", (event) => { if (event.code === "Space") event.preventDefault(); }, { capture: true });
byId("stop").addEventListener("click", () => act("STOP"));
byId("acknowledge").addEventListener("click", () => act("ACKNOWLEDGE"));
connect();
watch();
