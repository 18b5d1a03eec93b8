// Alarm tones: pulses of six harmonics, their patterns by priority, and the proof that they ran.
export const NOTE = { C: 262, D: 294, E: 330, F: 349, G: 392 };
// notes, seconds of a pulse, seconds between the starts of two patterns
export const PATTERN = {
  high: { notes: "CDE-FG..CDE-FG", pulse: 0.15, step: 0.19, every: 8 },
  medium: { notes: "CDE", pulse: 0.2, step: 0.26, every: 20 },
  low: { notes: "EC", pulse: 0.2, step: 0.26, every: 60 },
  lost: { notes: "GC", pulse: 0.25, step: 0.3, every: 5 },
};
const LOUD = 0.25;
let context = null;
let analyser = null;
let master = null; // closed while nothing should sound: a pause silences what is playing
let wave = null;
let playing = { what: "", until: 0, next: 0 };
let dueUntil = 0;
let heard = 0;
let lastClock = 0;

function start() {
  if (context) return;
  context = new AudioContext();
  analyser = context.createAnalyser();
  analyser.fftSize = 2048;
  analyser.smoothingTimeConstant = 0;
  master = context.createGain();
  master.connect(analyser);
  analyser.connect(context.destination);
  wave = context.createPeriodicWave(new Float32Array(7), new Float32Array([0, 1, 0.6, 0.4, 0.3, 0.2, 0.15]));
}

// Browsers allow sound only after a person touched the page.
export function allowSound() {
  start();
  if (context.state !== "running") context.resume();
}

export const soundRuns = () => Boolean(context && context.state === "running");

function pulse(note, at, length) {
  const tone = context.createOscillator();
  const level = context.createGain();
  tone.setPeriodicWave(wave);
  tone.frequency.value = NOTE[note];
  level.gain.setValueAtTime(0, at);
  level.gain.linearRampToValueAtTime(LOUD, at + 0.02);
  level.gain.setValueAtTime(LOUD, at + length - 0.03);
  level.gain.linearRampToValueAtTime(0, at + length);
  tone.connect(level).connect(master);
  tone.start(at);
  tone.stop(at + length);
}

export function play(what) {
  if (!soundRuns()) return;
  const { notes, pulse: length, step } = PATTERN[what];
  master.gain.value = 1;
  const begin = context.currentTime + 0.02;
  [...notes].forEach((note, n) => { if (NOTE[note]) pulse(note, begin + n * step, length); });
  dueUntil = begin + notes.length * step;
  heard = 0;
}

export function level() {
  if (!analyser) return 0;
  const samples = new Float32Array(analyser.fftSize);
  analyser.getFloatTimeDomainData(samples);
  return Math.sqrt(samples.reduce((sum, s) => sum + s * s, 0) / samples.length);
}

export function spectrum() {
  const bins = new Float32Array(analyser.frequencyBinCount);
  analyser.getFloatFrequencyData(bins);
  return { bins: [...bins], hz: context.sampleRate / analyser.fftSize };
}

// What should sound now: "" is silence. Repeats as its priority says; a change begins at once.
export function sound(what) {
  if (!soundRuns()) return;
  if (context.currentTime < dueUntil) heard = Math.max(heard, level());
  if (what !== playing.what) {
    playing = { what, next: 0 };
    if (!what) { master.gain.value = 0; dueUntil = 0; }
  }
  if (what && context.currentTime >= playing.next) {
    play(what);
    playing.next = context.currentTime + PATTERN[what].every;
  }
}

export function soundProof() {
  const running = soundRuns();
  const moved = running && context.currentTime > lastClock;
  lastClock = running ? context.currentTime : 0;
  const due = running && dueUntil > 0 && context.currentTime > dueUntil - 0.3;
  const proof = { audio: running && moved, tone: due ? heard > 0.005 : null };
  if (due) dueUntil = 0;
  return proof;
}
