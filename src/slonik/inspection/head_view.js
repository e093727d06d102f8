"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const tokens = data.tokens, T = tokens.length;
  const layers = data.layers.map((layer) => {
    const bytes = Uint8Array.from(atob(layer.weights), (letter) => letter.charCodeAt(0));
    return { heads: layer.heads, at: (h, i, j) => bytes[(h * T + i) * T + j] / 255 };
  });
  const state = { layer: 0, head: 0, token: -1 };
  const $ = (id) => document.getElementById(id);
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const NS = "http://www.w3.org/2000/svg";
  const make = (name, attributes, parent, text) => {
    const node = document.createElementNS(NS, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (text !== undefined) node.textContent = text;
    parent.appendChild(node);
    return node;
  };

  function lines() {
    const svg = $("view"), row = 24, left = 190, right = 430, layer = layers[state.layer];
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 620 ${T * row + 16}`);
    for (let i = 0; i < T; i++) {
      for (let j = 0; j < T; j++) {
        const weight = layer.at(state.head, i, j);
        if (weight < 0.02 || (state.token >= 0 && state.token !== i)) continue;
        make("line", { x1: left + 6, y1: i * row + 16, x2: right - 6, y2: j * row + 16, stroke: "var(--s1)",
          "stroke-width": 0.6 + 3 * weight, "stroke-opacity": Math.max(0.06, weight) }, svg);
      }
    }
    for (let i = 0; i < T; i++) {
      const chosen = i === state.token;
      const from = make("text", { x: left, y: i * row + 20, "text-anchor": "end", tabindex: 0, role: "button",
        class: chosen ? "token chosen" : "token", "aria-label": `attention of token ${i + 1}, ${tokens[i]}` }, svg, tokens[i]);
      const pick = () => { state.token = state.token === i ? -1 : i; draw(); };
      from.addEventListener("click", pick);
      from.addEventListener("keydown", (event) => { if (event.key === "Enter") pick(); });
      const weight = state.token >= 0 ? layer.at(state.head, state.token, i) : 0;
      make("text", { x: right, y: i * row + 20, class: "token", "fill-opacity": state.token >= 0 ? 0.3 + 0.7 * weight : 1 },
        svg, tokens[i] + (state.token >= 0 && weight >= 0.02 ? `  ${weight.toFixed(2)}` : ""));
    }
  }

  function grid() {
    const box = $("grid"), layer = layers[state.layer];
    box.replaceChildren();
    for (let h = 0; h < layer.heads; h++) {
      const button = document.createElement("button"), canvas = document.createElement("canvas");
      button.setAttribute("aria-pressed", String(h === state.head));
      button.setAttribute("aria-label", `head ${h}`);
      canvas.width = canvas.height = T;
      const context = canvas.getContext("2d");
      context.fillStyle = css("--s1");
      for (let i = 0; i < T; i++) for (let j = 0; j < T; j++) {
        context.globalAlpha = Math.sqrt(layer.at(h, i, j));
        context.fillRect(j, i, 1, 1);
      }
      const label = document.createElement("span");
      label.textContent = String(h);
      button.append(canvas, label);
      button.addEventListener("click", () => { state.head = h; draw(); });
      box.append(button);
    }
  }

  function draw() {
    state.head = Math.min(state.head, layers[state.layer].heads - 1);
    $("layer-name").textContent = `layer ${state.layer + 1} of ${layers.length}, head ${state.head}`;
    grid();
    lines();
  }

  const slider = $("layer");
  slider.max = layers.length;
  slider.addEventListener("input", () => { state.layer = Number(slider.value) - 1; draw(); });
  const asked = new URLSearchParams(location.hash.slice(1));
  state.layer = Math.min(layers.length, Math.max(1, Number(asked.get("layer")) || 1)) - 1;
  state.head = Math.max(0, Number(asked.get("head")) || 0);
  state.token = asked.has("token") ? Number(asked.get("token")) : -1;
  slider.value = state.layer + 1;
  draw();
})();
