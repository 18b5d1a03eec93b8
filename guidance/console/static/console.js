// The page: draws what the service says, and says NOT LIVE the moment it stops saying it.
const byId = (id) => document.getElementById(id);
const STALE_MS = 600;
let heardAt = 0;
const figures = new Map();

function figure(name) {
  if (!figures.has(name)) {
    const box = document.createElement("figure");
    const picture = document.createElement("img");
    picture.alt = name;
    const caption = document.createElement("figcaption");
    box.append(picture, caption);
    byId("views").append(box);
    figures.set(name, { box, picture, caption });
  }
  return figures.get(name);
}

function rows(table, entries) {
  table.replaceChildren(...entries.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((text) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      return cell;
    }));
    return row;
  }));
}

const fixed = (value, digits = 1) => (typeof value === "number" ? value.toFixed(digits) : "--.-");

function show(state) {
  byId("title").textContent = `${state.title} plan ${state.plan || "none"}${state.training ? " TRAINING" : ""}`;
  byId("phase").textContent = state.phase;
  byId("alarms").replaceChildren(...state.alarms.slice(0, 4).map((alarm) => {
    const line = document.createElement("p");
    line.className = alarm.priority;
    line.textContent = `${alarm.priority.toUpperCase()} ${alarm.text} - ${alarm.state}. Do: ${alarm.advice}`;
    return line;
  }));
  if (!state.alarms.length) byId("alarms").textContent = "= no alarm";
  rows(byId("streams"), [["stream", "age ms", "received", "dropped"], ...Object.entries(state.streams).map(
    ([name, s]) => [name, s.live ? fixed(s.age_ms, 0) : "NOT LIVE", s.received, s.dropped])]);
  rows(byId("tools"), Object.entries(state.tools).flatMap(([name, tool]) => [[name, tool.quality],
    ...Object.entries(tool.values).map(([key, value]) => [`  ${key}`, fixed(value)])]));
  rows(byId("thermometry"), Object.entries(state.thermometry).filter(([, v]) => v !== "").map(
    ([key, value]) => [key, typeof value === "number" ? fixed(value, 2) : String(value)]));
  for (const [name, age] of Object.entries(state.views)) {
    const view = figure(name);
    view.box.classList.toggle("stale", age > 1000);
    view.caption.textContent = age > 1000 ? `${name} NOT LIVE` : `${name} ${fixed(age, 0)} ms`;
  }
}

function connect() {
  const socket = new WebSocket(`ws://${location.host}/feed`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = (event) => {
    if (typeof event.data === "string") {
      heardAt = performance.now();
      show(JSON.parse(event.data));
      return;
    }
    const name = new TextDecoder().decode(event.data.slice(0, 16)).replace(/\0+$/, "");
    const { picture } = figure(name);
    const url = URL.createObjectURL(new Blob([event.data.slice(16)], { type: "image/jpeg" }));
    picture.onload = () => URL.revokeObjectURL(url);
    picture.src = url;
  };
  socket.onclose = () => { heardAt = 0; setTimeout(connect, 500); };
}

function watch() {
  const live = heardAt > 0 && performance.now() - heardAt < STALE_MS;
  byId("link").textContent = live ? "live" : "NOT LIVE";
  byId("link").classList.toggle("down", !live);
  if (!live) for (const { box } of figures.values()) box.classList.add("stale");
  requestAnimationFrame(watch);
}

connect();
watch();
