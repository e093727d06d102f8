"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const NS = "http://www.w3.org/2000/svg";
  const make = (name, attributes = {}, parent = null, text) => {
    const node = document.createElement(name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  };
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const inflated = async (packed) => new Uint8Array(
    await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"))).arrayBuffer());
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  const asked = new URLSearchParams(location.hash.slice(1));
  const shared = { words: asked.get("words") !== "0", specials: asked.get("specials") === "1" };
  const redraw = [], MANY = 40; // rows, from which on a matrix stands above the lines

  // Groups of tokens as they are shown: words or pieces, special tokens or not.
  function groups(side) {
    const found = [];
    side.tokens.forEach((token, i) => {
      const word = side.word[i];
      if (word < 0) { if (shared.specials) found.push({ name: token, tokens: [i], special: true }); return; }
      const last = found[found.length - 1];
      if (shared.words && last && last.word === word) { last.tokens.push(i); return; }
      found.push({ name: shared.words ? side.words[word] : token, tokens: [i], word });
    });
    return found;
  }

  // Weights between groups: summed over the tokens attended to, averaged over those that attend.
  function grouped(layer, head, from, to) {
    const R = layer.rows, C = layer.columns, out = new Float32Array(from.length * to.length);
    from.forEach((group, a) => {
      for (const i of group.tokens) {
        const unit = layer.largest[head * R + i] / 255 / group.tokens.length, start = (head * R + i) * C;
        to.forEach((other, b) => {
          let sum = 0;
          for (const j of other.tokens) sum += layer.shares[start + j];
          out[a * to.length + b] += sum * unit;
        });
      }
    });
    return out;
  }
  const greatest = (weights, row, n) => {
    let most = 1e-12;
    for (let j = 0; j < n; j++) most = Math.max(most, weights[row * n + j]);
    return most;
  };

  // Weights as they lie in the page, unpacked once.
  async function unpack(stack) {
    for (const layer of stack.layers) {
      const packed = bytes(layer.shares);
      layer.rows = stack.rows.tokens.length; layer.columns = stack.columns.tokens.length;
      layer.shares = layer.packing === "zlib" ? await inflated(packed) : packed;
      layer.largest = new Float32Array(bytes(layer.largest).buffer);
    }
  }

  function panel(name, stacks, root) {
    const state = { stack: 0, layer: 0, head: 0, row: -1, all: asked.get("view") === "all" };
    const own = make("div", { class: "panel" }, root);
    make("h3", {}, own, name);
    const tools = make("div", { class: "tools" }, own);
    let pick = null;
    if (stacks.length > 1) {
      pick = make("select", { "aria-label": "which attention" }, tools);
      stacks.forEach((stack, i) => make("option", { value: i }, pick, stack.name));
      pick.addEventListener("change", () => { state.stack = +pick.value; state.row = -1; draw(); });
    }
    const label = make("label", {}, tools, "layer ");
    const slider = make("input", { type: "range", min: 1, step: 1, value: 1, "aria-label": `layer of ${name}` }, label);
    slider.addEventListener("input", () => { state.layer = +slider.value - 1; draw(); });
    const toggle = make("button", { class: "all", type: "button" }, tools);
    toggle.addEventListener("click", () => { state.all = !state.all; draw(); });
    const title = make("p", { class: "which", role: "status" }, own);
    const strip = make("div", { class: "heads" }, own);
    const view = make("div", { class: "view" }, own);
    const note = make("p", { class: "note" }, own);
    if (asked.has("stack")) state.stack = Math.max(0, stacks.findIndex((stack) => stack.name === asked.get("stack")));
    state.layer = Math.max(0, (Number(asked.get("layer")) || 1) - 1);
    state.head = Math.max(0, Number(asked.get("head")) || 0);
    state.row = asked.has("token") ? Number(asked.get("token")) : -1;

    // One head small: darker where a row has more of its greatest weight.
    function thumbnail(layer, head, from, to, side) {
      const canvas = document.createElement("canvas"), weights = grouped(layer, head, from, to), n = to.length;
      canvas.width = Math.max(1, n); canvas.height = Math.max(1, from.length);
      const context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
      const [r, g, b] = rgb(css("--s1"));
      for (let i = 0; i < from.length; i++) {
        const most = greatest(weights, i, n);
        for (let j = 0; j < n; j++) {
          const at = 4 * (i * n + j);
          image.data[at] = r; image.data[at + 1] = g; image.data[at + 2] = b;
          image.data[at + 3] = 255 * weights[i * n + j] / most;
        }
      }
      context.putImageData(image, 0, 0);
      canvas.style.width = `${side}px`; canvas.style.height = `${side}px`;
      return canvas;
    }
    function headButton(parent, layer, l, h, from, to, side) {
      const chosen = l === state.layer && h === state.head;
      const button = make("button", { type: "button", "aria-label": `layer ${l + 1}, head ${h}`,
        "aria-pressed": String(chosen), title: `layer ${l + 1}, head ${h}` }, parent);
      button.append(thumbnail(layer, h, from, to, side));
      if (!state.all) make("span", {}, button, String(h));
      button.addEventListener("click", () => { state.layer = l; state.head = h; slider.value = l + 1; draw(); });
    }

    // All weights of a head at once, for texts whose lines would hide one another.
    function matrix(weights, from, to) {
      const n = to.length, canvas = document.createElement("canvas"), box = make("div", { class: "matrix" }, view);
      canvas.width = n; canvas.height = from.length;
      const context = canvas.getContext("2d"), image = context.createImageData(n, from.length), [r, g, b] = rgb(css("--s1"));
      const mark = rgb(css("--s2"));
      for (let i = 0; i < from.length; i++) {
        const most = greatest(weights, i, n), [x, y, z] = i === state.row ? mark : [r, g, b];
        for (let j = 0; j < n; j++) image.data.set([x, y, z, 255 * Math.max(i === state.row ? 0.12 : 0, weights[i * n + j] / most)], 4 * (i * n + j));
      }
      context.putImageData(image, 0, 0);
      canvas.style.aspectRatio = `${n} / ${from.length}`;
      const told = make("p", { class: "told", role: "status" });
      const place = (event) => {
        const bounds = canvas.getBoundingClientRect();
        return [Math.min(from.length - 1, Math.floor((event.clientY - bounds.top) / bounds.height * from.length)),
          Math.min(n - 1, Math.floor((event.clientX - bounds.left) / bounds.width * n))];
      };
      const idle = "Rows attend, columns are attended to: point at a weight; a click chooses its row.";
      told.textContent = idle;
      canvas.addEventListener("pointermove", (event) => {
        const [i, j] = place(event);
        told.textContent = `${from[i].name} (${i + 1}) → ${to[j].name} (${j + 1}): ${weights[i * n + j].toFixed(4)}, `
          + `${Math.round(100 * weights[i * n + j] / greatest(weights, i, n))} % of the row's greatest`;
      });
      canvas.addEventListener("pointerleave", () => { told.textContent = idle; });
      canvas.addEventListener("click", (event) => { const [i] = place(event); state.row = state.row === i ? -1 : i; draw(); });
      box.append(canvas, told);
    }

    function lines(stack, layer, from, to) {
      const weights = grouped(layer, state.head, from, to), n = to.length, tall = Math.max(from.length, n);
      const step = tall > 60 ? 15 : 22, height = tall * step + 12, width = 560, left = 200, right = 360;
      const svg = document.createElementNS(NS, "svg");
      svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", `attention of ${stack.name}, layer ${state.layer + 1}, head ${state.head}`);
      const draw_ = (kind, attributes, text) => {
        const node = document.createElementNS(NS, kind);
        for (const key in attributes) node.setAttribute(key, attributes[key]);
        if (text !== undefined) node.textContent = text;
        svg.appendChild(node);
        return node;
      };
      // Opacity is a share of the row's own greatest weight: a row spread over 256 tokens is as legible as a sharp one.
      // Of many rows only the strongest lines of each are drawn; the matrix has them all, and so has a chosen row.
      const alone = state.row >= 0, many = from.length > MANY, lines = alone || !many ? n : from.length > 120 ? 2 : 3;
      for (let i = 0; i < from.length; i++) {
        if (alone && state.row !== i) continue;
        const most = greatest(weights, i, n);
        let shown = [...to.keys()];
        if (lines < n) shown = shown.sort((a, b) => weights[i * n + b] - weights[i * n + a]).slice(0, lines);
        for (const j of shown) {
          const share = weights[i * n + j] / most;
          if (share < (alone ? 0.03 : 0.15)) continue;
          draw_("line", { x1: left + 5, y1: i * step + 13, x2: right - 5, y2: j * step + 13, stroke: "var(--s1)",
            "stroke-width": (many && !alone ? 0.4 : 0.5) + (many && !alone ? 1.2 : 2) * share,
            "stroke-opacity": share * share * (many && !alone ? 0.6 : 0.9) });
        }
      }
      const short = (text) => (text.length > 22 ? text.slice(0, 21) + "…" : text);
      from.forEach((group, i) => {
        const node = draw_("text", { x: left, y: i * step + 17, "text-anchor": "end", tabindex: 0, role: "button",
          class: i === state.row ? "token chosen" : "token", "font-size": step > 16 ? 14 : 11,
          "aria-label": `attention of ${group.name}, place ${i + 1}` }, short(group.name));
        const choose = () => { state.row = state.row === i ? -1 : i; draw(); };
        node.addEventListener("click", choose);
        node.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(); });
      });
      const most = state.row >= 0 ? greatest(weights, state.row, n) : 1;
      if (state.row >= 0) {
        const own = [...to.keys()].sort((a, b) => weights[state.row * n + b] - weights[state.row * n + a]).slice(0, 6);
        title.textContent += ": " + own.map((j) => `${to[j].name} ${weights[state.row * n + j].toFixed(3)}`).join(", ");
      }
      to.forEach((group, j) => {
        const weight = state.row >= 0 ? weights[state.row * n + j] : 0;
        const told = state.row >= 0 && weight >= 0.05 * most ? `  ${weight.toFixed(weight < 0.1 ? 3 : 2)}` : "";
        draw_("text", { x: right, y: j * step + 17, class: "token", "font-size": step > 16 ? 14 : 11,
          "fill-opacity": state.row >= 0 ? 0.35 + 0.65 * weight / most : 1 }, short(group.name) + told);
      });
      if (many) matrix(weights, from, to);
      view.append(svg);
      let hidden = 0;
      for (let i = 0; i < from.length; i++) for (let j = 0; j < n; j++) hidden += weights[i * n + j] / from.length;
      note.textContent = from.length && n && hidden < 0.995
        ? `On average ${Math.round(100 * (1 - hidden))} % of a row's attention is on special tokens, which are not shown.` : "";
    }

    function draw() {
      const stack = stacks[state.stack], from = groups(stack.rows), to = groups(stack.columns);
      if (pick) pick.value = state.stack;
      state.layer = Math.min(state.layer, stack.layers.length - 1);
      const layer = stack.layers[state.layer];
      state.head = Math.min(state.head, layer.heads - 1);
      if (state.row >= from.length) state.row = -1;
      slider.max = stack.layers.length; slider.value = state.layer + 1;
      toggle.textContent = state.all ? "Heads of one layer" : "All heads";
      title.textContent = `layer ${state.layer + 1} of ${stack.layers.length}, head ${state.head}`
        + (state.row >= 0 ? `, from ${from[state.row].name}` : "");
      strip.replaceChildren(); view.replaceChildren(); strip.className = state.all ? "heads grid" : "heads";
      if (state.all) {
        const most = Math.max(...stack.layers.map((each) => each.heads)), side = Math.max(10, Math.min(44, Math.floor((own.clientWidth - 34) / most) - 10));
        stack.layers.forEach((each, l) => {
          const row = make("div", { class: "line" }, strip);
          make("span", {}, row, String(l + 1));
          for (let h = 0; h < each.heads; h++) headButton(row, each, l, h, from, to, side);
        });
      } else for (let h = 0; h < layer.heads; h++) headButton(strip, layer, state.layer, h, from, to, 48);
      lines(stack, layer, from, to);
    }
    redraw.push(draw);
    draw();
  }

  // Words coloured by a number each: for the score in one colour, against it in the other.
  function coloured(root, part, values, most, signed) {
    const line = make("p", { class: "coloured" }, root);
    for (const group of groups(part)) {
      let sum = 0;
      for (const i of group.tokens) sum += values[i];
      const mark = make("span", { title: sum.toFixed(4), tabindex: 0 }, line, group.name);
      const share = Math.min(1, Math.abs(sum) / most);
      mark.style.background = `color-mix(in srgb, var(${signed && sum < 0 ? "--s2" : "--s1"}) ${Math.round(70 * share)}%, transparent)`;
      line.append(" ");
    }
  }
  function attributions(found, root) {
    const draw = () => {
      root.replaceChildren();
      for (const one of found) {
        make("h3", {}, root, `${one.model}: ${one.target}`);
        make("p", { class: "note" }, root, `Score ${one.score.toFixed(3)}; ${one.baseline.toFixed(3)} with ${one.token} in every place. `
          + `The shares add up to the difference but for ${Math.abs(one.gap).toExponential(1)} (${one.steps} steps).`);
        const sums = one.parts.flatMap((part) => groups(part).map((group) => Math.abs(group.tokens.reduce((s, i) => s + part.values[i], 0))));
        const most = Math.max(1e-12, ...sums);
        for (const part of one.parts) coloured(root, part, part.values, most, true);
        if (one.parts.some((part) => part.rollout)) {
          make("p", { class: "note" }, root, "Attention rollout (where a state could come from, whatever the score):");
          const rolled = one.parts.flatMap((part) => groups(part).map((group) => group.tokens.reduce((s, i) => s + (part.rollout || [])[i], 0)));
          for (const part of one.parts) if (part.rollout) coloured(root, part, part.rollout, Math.max(1e-12, ...rolled), false);
        }
      }
    };
    redraw.push(draw);
    draw();
  }

  function lens(one, root) {
    make("h3", {}, root, one.model);
    const box = make("div", { class: "scroll" }, root), table = make("table", { class: "lens" }, box);
    const head = make("tr", {}, make("thead", {}, table)), body = make("tbody", {}, table);
    make("th", {}, head, "layer");
    one.truths.forEach((token) => make("th", {}, head, token));
    for (let l = one.layers.length - 1; l >= 0; l--) {
      const row = make("tr", {}, body);
      make("th", { scope: "row" }, row, String(l));
      one.layers[l].forEach((cell) => {
        const [token, sure] = cell.top[0];
        const told = cell.top.map(([name, p]) => `${name}  ${p.toFixed(3)}`).join("\n") + `\n\nthe token that stands there: ${cell.truth.toFixed(4)}, rank ${cell.rank}`;
        const place = make("td", { title: told, class: cell.rank === 1 ? "right" : "" }, row, token);
        make("small", {}, place, `${sure.toFixed(2)} · rank ${cell.rank.toLocaleString("en")}`);
        place.style.background = `color-mix(in srgb, var(--s1) ${Math.round(55 * sure)}%, transparent)`;
      });
    }
  }

  function neighbours(one, root) {
    make("h3", {}, root, one.model);
    const label = make("label", {}, root, "layer ");
    const slider = make("input", { type: "range", min: 0, max: one.layers.length - 1, step: 1, value: one.layers.length - 1,
      "aria-label": `layer of ${one.model}` }, label);
    const where = make("span", { class: "which", role: "status" }, label), list = make("ol", {}, root);
    const draw = () => {
      const layer = one.layers[+slider.value];
      where.textContent = ` ${layer.layer}`;
      list.replaceChildren();
      for (const [text, cosine] of layer.answers) {
        const item = make("li", {}, list, text);
        make("small", {}, item, ` ${cosine.toFixed(3)}`);
      }
    };
    slider.addEventListener("input", draw);
    draw();
  }

  const attention = async () => {
    for (const model of data.attention) for (const stack of model.stacks) await unpack(stack);
    for (const model of data.attention) panel(model.model, model.stacks, document.getElementById("attention"));
    redraw.forEach((draw) => draw()); // panels beside each other are narrower than the first one was alone
  };
  if (data.attributions.length) attributions(data.attributions, document.getElementById("attributions"));
  for (const one of data.lens) lens(one, make("div", { class: "panel" }, document.getElementById("lens")));
  for (const one of data.neighbours) neighbours(one, make("div", { class: "panel" }, document.getElementById("neighbours")));
  for (const name of ["words", "specials"]) {
    const tick = document.getElementById(name);
    if (!tick) continue;
    tick.checked = shared[name];
    tick.addEventListener("change", () => { shared[name] = tick.checked; redraw.forEach((draw) => draw()); });
  }
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw.forEach((draw) => draw()));
  attention();
})();
