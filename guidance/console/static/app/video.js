// Plain video (a room camera, an endoscope): a JPEG to look at. No read-out, no points, no window, no plan.
import { store } from "./store.js";

export class VideoPane {
  constructor(stream, raw) {
    this.name = stream;
    this.raw = raw;
    this.context = raw.getContext("2d", { alpha: false });
    this.drawing = 0;
  }

  async draw() {
    const frame = store.frames.get(this.name);
    if (!frame || frame.seq === this.drawing) return;
    this.drawing = frame.seq;
    const picture = await createImageBitmap(new Blob([frame.layers.jpeg.values], { type: "image/jpeg" }));
    if (this.raw.width !== picture.width || this.raw.height !== picture.height) Object.assign(this.raw, { width: picture.width, height: picture.height });
    this.context.drawImage(picture, 0, 0);
    picture.close();
    this.place();
  }

  // Whole and as large as fits, like a live picture, without stretching.
  place() {
    const box = this.raw.parentElement.getBoundingClientRect();
    const k = Math.min(box.width / this.raw.width, box.height / this.raw.height);
    Object.assign(this.raw.style, {
      left: `${(box.width - this.raw.width * k) / 2}px`, top: `${(box.height - this.raw.height * k) / 2}px`,
      width: `${this.raw.width * k}px`, height: `${this.raw.height * k}px`,
    });
  }

  overlay() { this.place(); }

  under() { return null; }

  readout() { return "video: no plan, no measure"; }

  slice() {}

  pan() {}
}
