// The same plane by WebGL2, at data size, where a real graphics processor draws; software rendering takes the twin.
const VERTEX = "#version 300 es\nin vec2 at; void main() { gl_Position = vec4(at, 0.0, 1.0); }";
const FRAGMENT = `#version 300 es
precision highp float; precision highp int; precision highp usampler3D;
uniform usampler3D grey, over, sigma;
uniform sampler2D colours;
uniform mat4 image_from_pixel;
uniform vec2 size, window_ends, scale;      // scale: value = raw * x + y
uniform vec3 ends;                          // low, high, from
uniform float opacity, sigma_limit;
uniform int kind;                           // of the overlay: 0 linear, 1 logarithmic, 2 labels, 3 linear and cold
uniform bool has_over, has_sigma;
out vec4 colour;
void main() {
  vec2 p = vec2(gl_FragCoord.x - 0.5, size.y - gl_FragCoord.y - 0.5);
  vec3 v = (image_from_pixel * vec4(p, 0.0, 1.0)).xyz + 0.5;
  ivec3 n = textureSize(grey, 0);
  colour = vec4(0.0, 0.0, 0.0, 1.0);
  if (any(lessThan(v, vec3(0.0))) || any(greaterThanEqual(v, vec3(n)))) return;
  ivec3 c = ivec3(v);
  float raw = float(texelFetch(grey, c, 0).r);
  float g = clamp((raw - window_ends.x) / max(1.0, window_ends.y - window_ends.x), 0.0, 1.0);
  colour.rgb = vec3(g);
  if (!has_over) return;
  uint o = texelFetch(over, c, 0).r;
  ivec2 q = ivec2(p);
  if (o == 65535u) {
    bool lines = (q.x + q.y) % 8 == 0 || (q.x - q.y + 4096) % 8 == 0;
    if (lines && raw > mix(window_ends.x, window_ends.y, 0.08)) colour.rgb = vec3(0.43);
    return;
  }
  if (kind == 2) {
    if (o > 0u) colour.rgb = mix(vec3(g), texelFetch(colours, ivec2(int(o), 0), 0).rgb, opacity);
    return;
  }
  float value = float(o) * scale.x + scale.y;
  float linear = kind == 1 ? pow(10.0, value) : value;
  if (kind == 3 ? linear > ends.z : linear < ends.z) return;
  float low = kind == 1 ? log(ends.x) / log(10.0) : ends.x;
  float high = kind == 1 ? log(ends.y) / log(10.0) : ends.y;
  float place = clamp((value - low) / (high - low), 0.0, 1.0);
  colour.rgb = mix(vec3(g), texelFetch(colours, ivec2(int(place * 255.0 + 0.5), 0), 0).rgb, opacity);
  if (has_sigma && float(texelFetch(sigma, c, 0).r) > sigma_limit && (q.x + q.y) % 8 < 2) colour.rgb = vec3(0.0);
}`;

let decided = null;

// True where WebGL2 runs on a graphics processor; `?renderer=gl` or `?renderer=twin` decide by hand.
export function usesGl() {
  if (decided !== null) return decided;
  const wanted = new URLSearchParams(location.search).get("renderer");
  const gl = document.createElement("canvas").getContext("webgl2");
  const info = gl && gl.getExtension("WEBGL_debug_renderer_info");
  const renderer = gl ? String(gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER)) : "";
  decided = Boolean(gl) && (wanted === "gl" || (wanted !== "twin" && !/swiftshader|llvmpipe|software/i.test(renderer)));
  return decided;
}

function program(gl) {
  const made = gl.createProgram();
  for (const [type, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  return made;
}

const NO_COLOURS = Array.from({ length: 256 }, () => [0, 0, 0]);
const kindOf = (look) => (look.label ? 2 : look.log ? 1 : look.cold ? 3 : 0);

export class GlPlane {
  constructor(canvas) {
    this.canvas = canvas;
    this.gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false });
    const gl = this.gl;
    this.program = program(gl);
    gl.useProgram(this.program);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 3, -1, -1, 3]), gl.STATIC_DRAW);
    const at = gl.getAttribLocation(this.program, "at");
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, 2, gl.FLOAT, false, 0, 0);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    this.textures = {};
    this.places = new Map();
    this.colourTable = gl.createTexture();
  }

  uniform(name) {
    if (!this.places.has(name)) this.places.set(name, this.gl.getUniformLocation(this.program, name));
    return this.places.get(name);
  }

  volume(slot, name, layer, frame) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE0 + slot);
    const row = this.textures[name] || (this.textures[name] = { texture: gl.createTexture(), key: "" });
    gl.bindTexture(gl.TEXTURE_3D, row.texture);
    gl.uniform1i(this.uniform(name), slot);
    const key = `${frame.seq}:${layer.name}`;
    if (row.key === key) return;
    row.key = key;
    const [slices, rows, columns] = frame.shape;
    const small = layer.type === "uint8";
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_3D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texImage3D(gl.TEXTURE_3D, 0, small ? gl.R8UI : gl.R16UI, columns, rows, slices, 0, gl.RED_INTEGER, small ? gl.UNSIGNED_BYTE : gl.UNSIGNED_SHORT, layer.values);
  }

  colours(slot, rgb) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE0 + slot);
    gl.uniform1i(this.uniform("colours"), slot);
    gl.bindTexture(gl.TEXTURE_2D, this.colourTable);
    if (this.rgb === rgb) return;
    this.rgb = rgb;
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, 256, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, new Uint8Array(rgb.flat()));
  }

  plane(frame, plane, low, high, look, opacity, sigmaLimit) {
    const gl = this.gl;
    const { width, height, u, v, mm, origin } = plane;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    gl.viewport(0, 0, width, height);
    const m = frame.imageFromRas;
    const column = (d, w) => [0, 1, 2].map((i) => m[i][0] * d[0] + m[i][1] * d[1] + m[i][2] * d[2] + w * m[i][3]);
    const matrix = [...column(u.map((x) => x * mm), 0), 0, ...column(v.map((x) => x * mm), 0), 0, 0, 0, 1, 0, ...column(origin, 1), 1];
    gl.uniformMatrix4fv(this.uniform("image_from_pixel"), false, matrix);
    gl.uniform2f(this.uniform("size"), width, height);
    gl.uniform2f(this.uniform("window_ends"), low, high);
    const { magnitude, sigma } = frame.layers;
    this.volume(0, "grey", magnitude, frame);
    this.volume(1, "over", look ? look.layer : magnitude, frame);
    this.volume(2, "sigma", sigma || magnitude, frame);
    gl.uniform1i(this.uniform("has_over"), look ? 1 : 0);
    gl.uniform1i(this.uniform("has_sigma"), sigma ? 1 : 0);
    this.colours(3, look ? look.rgb : NO_COLOURS); // always bound: samplers of two kinds may not share a unit
    if (look) {
      gl.uniform2f(this.uniform("scale"), look.layer.scale, look.layer.offset);
      gl.uniform3f(this.uniform("ends"), look.low, look.high, look.from);
      gl.uniform1i(this.uniform("kind"), kindOf(look));
      gl.uniform1f(this.uniform("sigma_limit"), sigma ? sigmaLimit / sigma.scale : 0);
    }
    gl.uniform1f(this.uniform("opacity"), opacity);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }
}
