"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const texts = data.texts, N = texts.length, groups = data.groups, group = data.group;
  const whole = Uint8Array.from(atob(data.places), (letter) => letter.charCodeAt(0));
  const places = new Uint16Array(whole.buffer); // x and y of each point, 0 to 65535
  const X = new Float32Array(N), Y = new Float32Array(N);
  for (let i = 0; i < N; i++) { X[i] = places[2 * i] / 65535; Y[i] = 1 - places[2 * i + 1] / 65535; }
  const near = data.near && new Uint32Array(Uint8Array.from(atob(data.near), (letter) => letter.charCodeAt(0)).buffer);
  const nearest = near ? near.length / N : 0;

  const $ = (id) => document.getElementById(id);
  const canvas = $("map"), context = canvas.getContext("2d"), tip = $("tip");
  const view = { scale: 1, x: 0, y: 0 }; // a point lies at (x + X * scale) in CSS pixels
  const matched = new Uint8Array(N), chosen = new Uint8Array(N), hidden = new Uint8Array(groups.length || 1);
  let width = 0, height = 0, ratio = 1, image = null, pixels = null, waiting = false, box = null, hovered = -1;
  let colours = {};

  const packed = (colour) => { // "#rrggbb" to a pixel, least byte first
    const n = parseInt(colour.slice(1), 16);
    return (255 << 24 | (n & 255) << 16 | (n >> 8 & 255) << 8 | n >> 16) >>> 0;
  };
  function readColours() {
    const style = getComputedStyle(document.documentElement);
    const css = (name) => style.getPropertyValue(name).trim();
    const series = ["--s1", "--s3", "--s4", "--s5", "--good", "--bad", "--warning", "--muted"].map(css);
    colours = { series, points: series.map(packed), surface: packed(css("--surface")), mark: packed(css("--s2")),
      markText: css("--s2"), ink: css("--ink"), ground: css("--surface") };
  }
  const colourOf = (i) => (groups.length ? Math.min(group[i], colours.points.length - 1) : 0);

  // Bins of the plane, to find the point under the mouse without a look at all of them.
  const SIDE = 256, starts = new Uint32Array(SIDE * SIDE + 1), inBins = new Uint32Array(N);
  const binOf = (x, y) => Math.min(SIDE - 1, Math.max(0, Math.floor(y * SIDE))) * SIDE
    + Math.min(SIDE - 1, Math.max(0, Math.floor(x * SIDE)));
  for (let i = 0; i < N; i++) starts[binOf(X[i], Y[i]) + 1]++;
  for (let b = 0; b < SIDE * SIDE; b++) starts[b + 1] += starts[b];
  const filled = starts.slice();
  for (let i = 0; i < N; i++) inBins[filled[binOf(X[i], Y[i])]++] = i;

  function under(px, py, reach) {
    const x = (px - view.x) / view.scale, y = (py - view.y) / view.scale, r = reach / view.scale;
    let best = -1, least = reach * reach;
    const low = (v) => Math.max(0, Math.floor((v - r) * SIDE)), high = (v) => Math.min(SIDE - 1, Math.floor((v + r) * SIDE));
    for (let row = low(y); row <= high(y); row++) for (let column = low(x); column <= high(x); column++) {
      const bin = row * SIDE + column;
      for (let k = starts[bin]; k < starts[bin + 1]; k++) {
        const i = inBins[k], dx = (X[i] - x) * view.scale, dy = (Y[i] - y) * view.scale, far = dx * dx + dy * dy;
        if (far < least && !(groups.length && hidden[group[i]])) { least = far; best = i; }
      }
    }
    return best;
  }

  function resize() {
    const bounds = canvas.getBoundingClientRect();
    width = Math.max(1, Math.round(bounds.width)); height = Math.max(1, Math.round(bounds.height));
    ratio = Math.min(2, window.devicePixelRatio || 1);
    canvas.width = width * ratio; canvas.height = height * ratio;
    image = context.createImageData(canvas.width, canvas.height);
    pixels = new Uint32Array(image.data.buffer);
    draw();
  }

  function whole_() {
    view.scale = Math.min(width, height) * 0.92;
    view.x = (width - view.scale) / 2; view.y = (height - view.scale) / 2;
    draw();
  }

  function dot(i, size, colour) {
    const w = canvas.width, h = canvas.height;
    const px = Math.round((view.x + X[i] * view.scale) * ratio), py = Math.round((view.y + Y[i] * view.scale) * ratio);
    const left = px - (size >> 1), top = py - (size >> 1);
    if (left < 0 || top < 0 || left + size > w || top + size > h) return;
    for (let y = top; y < top + size; y++) pixels.fill(colour, y * w + left, y * w + left + size);
  }

  function paint() {
    waiting = false;
    pixels.fill(colours.surface);
    const w = canvas.width, h = canvas.height, sx = view.scale * ratio, ox = view.x * ratio, oy = view.y * ratio;
    const zoom = view.scale / Math.min(width, height);
    const size = Math.max(2, Math.round((N > 20000 ? 1.6 : N > 2000 ? 2.6 : 4) * ratio * Math.min(3, Math.sqrt(zoom))));
    const half = size >> 1, any = groups.length > 0;
    let marks = 0;
    for (let i = 0; i < N; i++) {
      if (any && hidden[group[i]]) continue;
      if (matched[i] || chosen[i]) { marks++; continue; }
      const left = (ox + X[i] * sx | 0) - half, top = (oy + Y[i] * sx | 0) - half;
      if (left < 0 || top < 0 || left + size > w || top + size > h) continue;
      const colour = colours.points[any ? colourOf(i) : 0];
      for (let y = 0, at = top * w + left; y < size; y++, at += w) for (let x = 0; x < size; x++) pixels[at + x] = colour;
    }
    if (marks) for (let i = 0; i < N; i++) if (matched[i] || chosen[i]) dot(i, size + Math.round(3 * ratio), colours.mark);
    context.putImageData(image, 0, 0);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if ($("labels").checked) labels(marks);
    if (hovered >= 0) ring(hovered);
    if (box) { context.strokeStyle = colours.markText; context.setLineDash([4, 3]);
      context.strokeRect(box.x0, box.y0, box.x1 - box.x0, box.y1 - box.y0); context.setLineDash([]); }
  }
  const draw = () => { if (!waiting) { waiting = true; requestAnimationFrame(paint); } };

  function ring(i) {
    context.strokeStyle = colours.ink; context.lineWidth = 1.5; context.beginPath();
    context.arc(view.x + X[i] * view.scale, view.y + Y[i] * view.scale, 7, 0, 7); context.stroke();
  }

  // Marked points first, then by number (words: the most frequent first), where no label lies yet.
  function labels(marks) {
    const taken = new Uint8Array(Math.ceil(width / 22 + 1) * Math.ceil(height / 16 + 1)), across = Math.ceil(width / 22 + 1);
    context.font = `12px ${getComputedStyle(document.body).fontFamily}`; context.textBaseline = "middle";
    let written = 0;
    const write = (i, colour) => {
      const x = view.x + X[i] * view.scale + 6, y = view.y + Y[i] * view.scale;
      if (x < 0 || y < 8 || x > width - 30 || y > height - 8) return;
      const text = short(texts[i], 28), first = Math.floor(x / 22), rows = [Math.floor((y - 6) / 16), Math.floor((y + 6) / 16)];
      const last = Math.min(across - 1, Math.floor((x + 7 * text.length) / 22));
      for (const row of rows) for (let c = first; c <= last; c++) if (taken[row * across + c]) return;
      for (const row of rows) for (let c = first; c <= last; c++) taken[row * across + c] = 1;
      context.lineWidth = 3; context.strokeStyle = colours.ground; context.strokeText(text, x, y);
      context.fillStyle = colour; context.fillText(text, x, y); written++;
    };
    if (marks) for (let i = 0; i < N && written < 80; i++) if (matched[i] || chosen[i]) write(i, colours.markText);
    for (let i = 0; i < N && written < 120; i++) if (!(groups.length && hidden[group[i]])) write(i, colours.ink);
  }
  const short = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);

  function list(id, found, all) {
    const places = $(id);
    places.replaceChildren();
    for (const i of found) {
      const item = document.createElement("li"), button = document.createElement("button");
      button.textContent = short(texts[i], 90);
      if (texts[i].length > 90) button.title = texts[i];
      button.addEventListener("click", () => { centre(i); only(i); });
      item.append(button); places.append(item);
    }
    if (all > found.length) {
      const more = document.createElement("li");
      more.textContent = `… ${(all - found.length).toLocaleString("en")} more`;
      places.append(more);
    }
  }

  function search() {
    const asked = $("search").value.trim().toLowerCase();
    const found = [];
    let count = 0;
    matched.fill(0);
    if (asked) for (let i = 0; i < N; i++) if (texts[i].toLowerCase().includes(asked)) {
      matched[i] = 1; count++;
      if (texts[i].toLowerCase() === asked) found.unshift(i); else if (found.length < 200) found.push(i);
    }
    $("found").textContent = asked ? `${count.toLocaleString("en")} of ${N.toLocaleString("en")}` : "";
    list("results", found.slice(0, 12), count);
    draw();
  }

  function selection() {
    const found = [];
    for (let i = 0; i < N; i++) if (chosen[i]) found.push(i);
    $("count").textContent = found.length ? `${found.length.toLocaleString("en")} selected` : "nothing selected";
    $("selected").value = found.slice(0, 5000).map((i) => texts[i]).join("\n") + (found.length > 5000 ? "\n…" : "");
    const one = found.length === 1 && nearest ? found[0] : -1;
    $("near-title").hidden = one < 0;
    list("near", one < 0 ? [] : [...near.subarray(one * nearest, (one + 1) * nearest)], 0);
    draw();
  }
  const only = (i) => { chosen.fill(0); if (i >= 0) chosen[i] = 1; selection(); };
  function centre(i) {
    view.scale = Math.max(view.scale, Math.min(width, height) * 4);
    view.x = width / 2 - X[i] * view.scale; view.y = height / 2 - Y[i] * view.scale; draw();
  }
  function zoomAt(px, py, factor) {
    const least = Math.min(width, height) * 0.3, most = Math.min(width, height) * 2000;
    const scale = Math.min(most, Math.max(least, view.scale * factor)), by = scale / view.scale;
    view.x = px - (px - view.x) * by; view.y = py - (py - view.y) * by; view.scale = scale; draw();
  }

  let held = null;
  const at = (event) => { const b = canvas.getBoundingClientRect(); return [event.clientX - b.left, event.clientY - b.top]; };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault(); const [x, y] = at(event); zoomAt(x, y, Math.exp(-event.deltaY * 0.0015));
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    const [x, y] = at(event);
    held = { x, y, moved: false, select: event.shiftKey || $("drag").checked };
    if (held.select) box = { x0: x, y0: y, x1: x, y1: y };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = at(event);
    if (held) {
      held.moved = held.moved || Math.abs(x - held.x) + Math.abs(y - held.y) > 3;
      if (held.select) { box.x1 = x; box.y1 = y; } else if (held.moved) {
        view.x += x - held.x; view.y += y - held.y; held.x = x; held.y = y;
      }
      draw(); return;
    }
    const i = under(x, y, 12);
    if (i !== hovered) { hovered = i; draw(); }
    tip.hidden = i < 0;
    if (i >= 0) {
      tip.textContent = short(texts[i], 160) + (groups.length ? `  (${groups[group[i]]})` : "");
      tip.style.left = `${Math.min(x + 14, width - 260)}px`; tip.style.top = `${y + 14}px`;
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    const [x, y] = at(event);
    if (held && held.select && held.moved) {
      const [x0, x1] = [Math.min(box.x0, box.x1), Math.max(box.x0, box.x1)];
      const [y0, y1] = [Math.min(box.y0, box.y1), Math.max(box.y0, box.y1)];
      chosen.fill(0);
      for (let i = 0; i < N; i++) {
        const px = view.x + X[i] * view.scale, py = view.y + Y[i] * view.scale;
        if (px >= x0 && px <= x1 && py >= y0 && py <= y1 && !(groups.length && hidden[group[i]])) chosen[i] = 1;
      }
      box = null; selection();
    } else if (held && !held.moved) { box = null; only(under(x, y, 12)); }
    held = null; box = null; draw();
  });
  canvas.addEventListener("pointerleave", () => { hovered = -1; tip.hidden = true; draw(); });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] }[event.key];
    if (step) { view.x += step[0]; view.y += step[1]; } else if (event.key === "+" || event.key === "=") {
      zoomAt(width / 2, height / 2, 1.4);
    } else if (event.key === "-") zoomAt(width / 2, height / 2, 1 / 1.4);
    else if (event.key === "0") whole_(); else return;
    event.preventDefault(); draw();
  });
  $("search").addEventListener("input", search);
  $("labels").addEventListener("change", draw);
  $("whole").addEventListener("click", whole_);
  $("clear").addEventListener("click", () => only(-1));
  groups.forEach((name, place) => {
    const label = document.createElement("label"), tick = document.createElement("input"), mark = document.createElement("i");
    tick.type = "checkbox"; tick.checked = true;
    mark.dataset.place = place;
    tick.addEventListener("change", () => { hidden[place] = tick.checked ? 0 : 1; draw(); });
    label.append(tick, mark, document.createTextNode(name));
    $("groups").append(label);
  });
  const dress = () => {
    readColours();
    for (const mark of document.querySelectorAll("#groups i")) mark.style.background = colours.series[Math.min(+mark.dataset.place, 7)];
    draw();
  };
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", dress);
  window.addEventListener("resize", resize);
  readColours(); resize(); whole_(); dress(); search(); selection();
})();
