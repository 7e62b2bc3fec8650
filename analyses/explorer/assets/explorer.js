// Prefetches rows of numbers and draws them on canvases, a step in a few milliseconds. Reports clicks
// to Dash; everything else on the page is Python.
(() => {
  "use strict";

  const LARGEST = 200e6; // bytes cached per run; larger runs fetch rows one by one
  const CHUNK = 1.5e6; // bytes per background request
  const VIRIDIS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141],
    [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
  const DIVERGING = [[5, 48, 97], [67, 147, 195], [209, 229, 240], [247, 247, 247],
    [253, 219, 199], [214, 96, 77], [103, 0, 31]];
  const COLORS = { light: ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"],
    dark: ["#56B4E9", "#E69F00", "#2DC59B", "#E5A3C7", "#F0E442", "#8FCBF0"] };
  const HASH = (list) => JSON.stringify(list.filter((item) => item.on));

  const byId = (id) => document.getElementById(id);
  const tell = (id, props) => window.dash_clientside.set_props(id, props);
  const view = { at: 0, frequency: 1, neuron: 0, show: "logit margin", head: 0, mask: "", lock: "step",
    state: "after", order: "number" };
  let runs = [], fork = null, listed = [], clicks = 0, playing = null, tip = null;
  let urgent = Promise.resolve(); // visible rows load before prefetched rows

  // --- prefetched rows of numbers -------------------------------------------------------------

  async function ask(path, query) {
    let answer;
    try {
      answer = await fetch(`${path}?${new URLSearchParams(query)}`);
    } catch (error) {
      throw new Error("The server does not answer: is mechgrok explore still running?");
    }
    if (!answer.ok) throw new Error(answer.status === 422 ? await answer.text()
      : `The server failed (${answer.status}): see its terminal for the error.`);
    return answer;
  }

  class Rows {
    constructor(run, doing) {
      Object.assign(this, { run, doing, kept: new Map(), extent: {}, wanted: null });
      this.places = {};
      this.size = 0;
      for (const [name, shape] of run.about.shapes) {
        const length = shape.reduce((a, b) => a * b, 1);
        this.places[name] = [this.size, length];
        this.size += length;
      }
      this.fits = this.size * 4 * run.about.steps.length <= LARGEST;
    }

    part(at, name) {
      const row = this.kept.get(at);
      if (!row || !this.places[name]) return null;
      const [start, length] = this.places[name];
      return row.subarray(start, start + length);
    }

    async fetch(first, last) {
      const neuron = view.neuron;
      const query = { run: this.run.number, from: first, to: last, do: this.doing, neuron };
      const numbers = new Float32Array(await (await ask("rows", query)).arrayBuffer());
      if (neuron !== view.neuron) return;
      for (let at = first; at <= last; at++) {
        const start = (at - first) * this.size;
        this.kept.set(at, numbers.subarray(start, start + this.size));
        this.widen(at);
      }
      while (!this.fits && this.kept.size > 40) this.kept.delete(this.kept.keys().next().value);
    }

    // Tracks minimum, maximum and largest root mean square of each array, for the ends of its colours:
    // the root mean square limits the effect of outliers. Those of the last step are final, so that
    // colours do not change while the other steps load.
    widen(at) {
      if (this.settled) return;
      this.settled = at === this.run.about.steps.length - 1;
      if (this.settled) this.extent = {};
      for (const name of Object.keys(this.places)) {
        const now = this.extent[name] ?? [Infinity, -Infinity, 0], part = this.part(at, name);
        let squares = 0;
        for (const value of part) {
          if (value < now[0]) now[0] = value;
          if (value > now[1]) now[1] = value;
          squares += value * value;
        }
        now[2] = Math.max(now[2], Math.sqrt(squares / part.length));
        this.extent[name] = now;
      }
    }

    // Requests a row for display; while a request is pending, only the latest request counts.
    want(at) {
      const waits = this.wanted !== null;
      this.wanted = at;
      if (!waits) urgent = Promise.all([urgent, this.fetchWanted()]);
    }

    async fetchWanted() {
      try {
        while (!this.kept.has(this.wanted)) {
          const next = this.wanted;
          await this.fetch(next, next);
          draw();
        }
        say("");
      } catch (error) {
        say(error.message);
      } finally {
        this.wanted = null;
      }
    }

    // Loads all rows, starting near `from`; concurrent calls share one load.
    fill(from, done = () => {}) {
      this.waiting = [...(this.waiting ?? []), done];
      this.filling ??= this.fillFrom(from).finally(() => { this.filling = null; this.waiting = []; });
      return this.filling;
    }

    async fillFrom(from) {
      if (!this.fits) return;
      const n = this.run.about.steps.length, length = Math.max(1, Math.floor(CHUNK / this.size / 4));
      const starts = [];
      for (let at = 0; at < n; at += length) starts.push(at);
      starts.sort((a, b) => Math.abs(a - from) - Math.abs(b - from));
      for (const start of starts) {
        const last = Math.min(n, start + length) - 1;
        let missing = false;
        for (let at = start; at <= last; at++) missing ||= !this.kept.has(at);
        await urgent;
        if (missing) await this.fetch(start, last);
        if (this.stopped) return;
        this.waiting.forEach((done) => done(this.kept.size / n));
      }
    }
  }

  function say(words) { if (byId("status").textContent !== words) tell("status", { children: words }); }

  function open(run) {
    run.shapes = Object.fromEntries(run.about.shapes);
    run.base = new Rows(run, "[]");
    run.now = run.base;
    run.mask = null;
    const { p, pairs, mirrored } = run.about;
    if (!p) return;
    run.cells = new Int32Array(p * p).fill(-1);
    for (let example = 0; example < pairs.length / 2; example++) {
      const [a, b] = [pairs[2 * example], pairs[2 * example + 1]];
      if (a >= p || b >= p) continue;
      run.cells[a * p + b] = example;
      if (mirrored) run.cells[b * p + a] = example;
    }
  }

  function fillAll() {
    for (const run of runs) run.base.fill(run.at).catch((error) => say(error.message));
  }

  // --- colours --------------------------------------------------------------------------------

  function between(stops, share) {
    const place = Math.min(1, Math.max(0, share)) * (stops.length - 1), low = Math.floor(place);
    const high = Math.min(low + 1, stops.length - 1), rest = place - low;
    return stops[low].map((value, channel) => value + (stops[high][channel] - value) * rest);
  }
  const table = (stops) => Uint8ClampedArray.from(
    Array.from({ length: 256 }, (_, i) => [...between(stops, i / 255), 255]).flat());
  const SCALES = { sequential: table(VIRIDIS), diverging: table(DIVERGING) };
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // An image with one pixel per number, to be scaled up.
  function raster(rows, columns, colorAt) {
    const canvas = new OffscreenCanvas(columns, rows), context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    colorAt(image.data);
    context.putImageData(image, 0, 0);
    return canvas;
  }

  function heat(values, rows, columns, [low, high], scale) {
    const colors = SCALES[scale], span = high > low ? high - low : 1;
    return raster(rows, columns, (data) => {
      for (let i = 0; i < rows * columns; i++) {
        const value = values[i];
        if (Number.isNaN(value)) continue;
        const share = Math.min(255, Math.max(0, Math.round((value - low) / span * 255))) * 4;
        for (let channel = 0; channel < 4; channel++) data[4 * i + channel] = colors[share + channel];
      }
    });
  }

  // --- pictures -------------------------------------------------------------------------------

  // Each function returns the content of a picture for a run: a grid of numbers with axes, or points.
  const PICTURES = {
    pairs: (run) => {
      const { p } = run.about, values = pairValues(run);
      if (!values) return null;
      const usual = view.show === "logit margin" ? { ends: usualEnds(values), scale: "diverging" }
        : { scale: "sequential", ends: view.show === "correct" ? [0, 1]
          : view.show === "loss" ? [-5, 1.5] : extent(run, "right") };
      return { values: onGrid(run, values), rows: p, columns: p, ...ends(run, "pairs", usual, values), x: "b", y: "a",
        outlined: run, unit: view.show === "loss" ? "log₁₀ loss" : view.show,
        hover: (a, b) => pairWords(run, a, b),
        click: (a, b) => clicked({ what: "pair", example: run.cells[a * p + b] }) };
    },
    weights: (run) => {
      const values = sorted(run, state(run, "weights"));
      const [rows, columns] = run.shapes.weights, { paths } = run.about;
      const width = columns / paths.length;
      const by = (x) => paths.length > 1 ? ` by ${paths[Math.floor(x / width)]}` : "";
      const order = run.order;
      return values && { values, rows, columns, x: inputs(run), y: "neuron", unit: "weight", order,
        ...ends(run, "weights", { ends: even(extent(run, "weights")), scale: "diverging" }, values),
        marked: marked(run), lasso: (picked) => clicked({ what: "neurons", neurons: picked.map((row) => order[row]) }),
        hover: (row, x) => `neuron ${order[row]}, ${element(run, x % width)}${by(x)}: ${say4(values[row * columns + x])}; click to kill or revive` };
    },
    spectra: (run) => {
      const values = sorted(run, state(run, "spectra"));
      if (!values) return null;
      const [rows, columns] = run.shapes.spectra, { kind, symbol, names } = run.about.parts, order = run.order;
      const [, most, usual] = extent(run, "spectra");
      return { values, rows, columns, order, marked: marked(run),
        ...ends(run, "spectra", { ends: [0, Math.min(most, 6 * usual)], scale: "sequential" }, values),
        x: `${kind} ${symbol}`, y: "neuron", unit: `|F(${symbol})|`,
        hover: (row, k) => `neuron ${order[row]}, ${symbol} = ${names[k]}: ${say4(values[row * columns + k])}`,
        click: (row, k) => { tell("neuron", { value: order[row] }); if (k) tell("frequency", { value: k }); } };
    },
    plane: (run) => {
      const all = (view.state === "before" ? run.base : run.now).part(run.at, "planes");
      if (!all) return null;
      const [count, , n] = run.shapes.planes, k = Math.min(view.frequency, count) - 1;
      const last = run.base.part(run.about.steps.length - 1, "planes") ?? all;
      const points = all.subarray(2 * n * k, 2 * n * (k + 1));
      let reach = 1e-9;
      for (const part of [points, last.subarray(2 * n * k, 2 * n * (k + 1))])
        for (const value of part) reach = Math.max(reach, Math.abs(value));
      const { kind, symbol, names } = run.about.parts;
      const whole = isDifference(run) ? run.base.part(run.at, "planes")?.subarray(2 * n * k, 2 * n * (k + 1)) : null;
      for (const value of whole ?? []) reach = Math.max(reach, Math.abs(value));
      // A line connects the residues of a frequency around the circle; elements of a group have none.
      return { points, whole, n, k: k + 1, reach, unit: `${symbol} = ${names[k + 1]}`,
        around: kind === "frequency", name: (i) => kind === "frequency" ? i : element(run, i) };
    },
    activation: (run) => grid(run, "activation", `neuron ${view.neuron}`),
    attention: (run) => {
      const shape = run.shapes.attention;
      if (!shape) return null;
      const head = Math.min(view.head, shape[0] - 1), all = state(run, "attention");
      return all && grid(run, "attention", `head ${head}`,
        all.subarray(head * shape[1], (head + 1) * shape[1]), [0, 1]);
    },
    mask: (run) => run.mask && (run.mask.kept.includes(0) || run.maskWanted) && { values: run.mask.kept, rows: run.mask.shape[0],
      columns: run.mask.shape[1], ends: [0, 1], scale: "sequential", x: "column", y: "row",
      unit: run.mask.weight, hover: (row, column) =>
        `${run.mask.weight}[${row}, ${column}] ${run.mask.kept[row * run.mask.shape[1] + column] ? "kept" : "pruned"}; click to toggle`,
      click: (row, column) => clicked({ what: "edge", weight: run.mask.weight, row, column,
        kept: !!run.mask.kept[row * run.mask.shape[1] + column] }) },
  };

  // An array of the network in the chosen state: before or after the interventions, or their difference.
  function state(run, name) {
    const before = run.base.part(run.at, name);
    if (run.now === run.base || view.state === "before") return before;
    const after = silenced(run.now.part(run.at, name), name);
    if (view.state === "after" || !before || !after) return after;
    return after.map((value, i) => value - before[i]);
  }
  const isDifference = (run) => view.state === "difference" && run.now !== run.base;

  // The weights and spectra of ablated neurons count as zero.
  function silenced(part, name) {
    const neurons = ablated();
    if (!part || !neurons.size || (name !== "weights" && name !== "spectra")) return part;
    const copied = part.slice(), { about } = runs[0], width = part.length / Math.min(about.neurons, 512);
    for (const neuron of neurons) copied.fill(0, neuron * width, (neuron + 1) * width);
    return copied;
  }

  // Whether the interventions change an array at this step.
  function isChanged(run, name) {
    const before = run.base.part(run.at, name), after = silenced(run.now.part(run.at, name), name);
    if (!before || !after) return true;
    const scale = extent(run, name)?.[2] || 1e-9;
    return after.some((value, i) => Math.abs(value - before[i]) > 1e-6 * scale);
  }

  // What the caption of a picture adds to its title.
  const ARRAYS = { pairs: "right", weights: "weights", spectra: "spectra", plane: "planes",
    activation: "activation", attention: "attention" };
  function addition(run, name, picture) {
    const all = name === "pairs" && allCorrect(run) ? ", all correct" : "";
    if (run.now === run.base || name === "mask") return all;
    if (view.state !== "after") return `${all}, ${view.state === "before" ? "before" : "difference"}`;
    return isChanged(run, ARRAYS[name]) ? `${all}, after` : `${all}, unchanged`;
  }
  function allCorrect(run) {
    const answer = (view.state === "before" ? run.base : run.now).part(run.at, "answer");
    return !!answer && answer.every((said, i) => said === run.about.labels[i]);
  }

  // The range of the numbers, without interventions if loaded; that of a difference is symmetric.
  const ends = (run, name, usual, values) => isDifference(run)
    ? { ends: symmetric(values), scale: "diverging" } : usual;
  // Twice the root mean square, so that few large values do not hide the sign of the others.
  function usualEnds(values) {
    const end = 2 * Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length) || 1;
    return [-end, end];
  }
  function symmetric(values) {
    let end = 0;
    for (const value of values) if (Math.abs(value) > end) end = Math.abs(value);
    return [-(end || 1), end || 1];
  }
  const extent = (run, name) => run.base.extent[name] ?? run.now.extent[name];
  const say4 = (value) => Number(value).toPrecision(4);
  const even = ([low, high, usual]) => { const end = Math.min(Math.max(-low, high), 4 * usual) || 1; return [-end, end]; };

  function ablated() {
    const found = new Set();
    for (const item of listed) if (item.on && item.kind === "Ablate" && Array.isArray(item.options.neurons)
      && !item.options.hook) item.options.neurons.forEach((neuron) => found.add(neuron));
    return found;
  }

  function pairValues(run) {
    if (!run.now.part(run.at, "answer") || !run.cells) return null;
    const of = (rows) => {
      const right = (said, i) => said === run.about.labels[i] ? 1 : 0;
      if (view.show === "correct") return rows.part(run.at, "answer")?.map(right);
      if (view.show === "loss") return rows.part(run.at, "loss")?.map((value) => Math.log10(value + 1e-9));
      return rows.part(run.at, view.show === "logit margin" ? "margin" : "right");
    };
    const before = of(run.base);
    if (view.state === "before" || !isDifference(run)) return view.state === "before" ? before : of(run.now);
    return before && of(run.now).map((value, i) => value - before[i]);
  }

  // --- the order of the neurons ---------------------------------------------------------------

  // The rows of the neurons: by their strongest part at the shown step, its share of the variance, or
  // the effect of their ablation.
  function findOrder(run) {
    const rows = run.shapes.weights[0], order = Array.from({ length: rows }, (_, i) => i);
    const spectra = run.base.part(run.at, "spectra"), effects = run.effects;
    run.order = order;
    if (view.order === "effect" && effects) order.sort((i, j) => effects[j] - effects[i]);
    if ((view.order === "frequency" || view.order === "share") && spectra) {
      const columns = run.shapes.spectra[1];
      const found = order.map((neuron) => {
        let best = 1, total = 0;
        for (let k = 1; k < columns; k++) {
          const power = spectra[neuron * columns + k] ** 2;
          total += power;
          if (power > spectra[neuron * columns + best] ** 2) best = k;
        }
        return [best, total ? spectra[neuron * columns + best] ** 2 / total : 0];
      });
      order.sort((i, j) => (view.order === "frequency" ? found[i][0] - found[j][0] : 0) || found[j][1] - found[i][1]);
    }
  }
  function sorted(run, values) {
    if (!values || view.order === "number") return values;
    const width = values.length / run.order.length, placed = new Float32Array(values.length);
    run.order.forEach((neuron, row) => placed.set(values.subarray(neuron * width, (neuron + 1) * width), row * width));
    return placed;
  }
  function marked(run) {
    const neurons = ablated();
    return run.order.flatMap((neuron, row) => neurons.has(neuron) ? [row] : []);
  }

  function onGrid(run, values) {
    return Float32Array.from(run.cells, (example) => example < 0 ? NaN : values[example]);
  }

  function grid(run, name, unit, values = state(run, name), usual = null) {
    if (!values || !run.cells) return null;
    const { p } = run.about, cells = onGrid(run, values), scale = "sequential";
    return { values: cells, rows: p, columns: p, x: "b", y: "a", unit,
      ...ends(run, name, { ends: usual ?? extent(run, name), scale }, values), hover: (a, b) => `${pair(run, a, b)}: ${say4(cells[a * p + b])}` };
  }

  // The names of operands and answers: residues, or a group's elements.
  const element = (run, i) => run.about.elements?.[i] ?? i;
  const pair = (run, a, b) => `(${element(run, a)}, ${element(run, b)})`;
  const inputs = (run) => !run.about.p ? "input"
    : run.about.parts?.kind === "representation" ? "element" : "residue";

  function pairWords(run, a, b) {
    const example = run.cells[a * run.about.p + b];
    if (example < 0) return `${pair(run, a, b)} is no example`;
    const said = run.now.part(run.at, "answer")[example];
    return `${pair(run, a, b)} → ${element(run, run.about.labels[example])}, says ${element(run, said)}; `
      + `${example < run.about.n_train ? "train" : "test"}, logit ${say4(run.now.part(run.at, "right")[example])}, `
      + `loss ${say4(run.now.part(run.at, "loss")[example])}`;
  }

  // --- drawing --------------------------------------------------------------------------------

  const LEFT = 34, BELOW = 30, ABOVE = 18, RIGHT = 6;

  function box(picture, width, height) {
    return { left: LEFT, top: ABOVE, width: width - LEFT - RIGHT, height: height - ABOVE - BELOW };
  }

  function paint(context, picture, width, height) {
    context.clearRect(0, 0, width, height);
    const ink = style("--ink"), { left, top, width: w, height: h } = box(picture, width, height);
    context.font = "11px Helvetica, Arial, sans-serif";
    context.fillStyle = ink;
    context.textAlign = "center";
    if (picture.points) return paintPoints(context, picture, width, height, ink);
    context.imageSmoothingEnabled = false;
    context.drawImage(heat(picture.values, picture.rows, picture.columns, picture.ends, picture.scale), left, top, w, h);
    context.strokeStyle = ink;
    context.lineWidth = 1;
    context.strokeRect(left - 0.5, top - 0.5, w + 1, h + 1);
    if (picture.outlined) outline(context, picture, left, top, w, h);
    for (const [count, along] of [[picture.columns, true], [picture.rows, false]]) {
      const every = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((gap) => count / gap <= 7) ?? 2000;
      context.textAlign = along ? "center" : "right";
      for (let tick = 0; tick < count; tick += every) {
        const row = picture.order?.[tick] ?? tick;
        if (along) context.fillText(String(tick), left + (tick + 0.5) * w / count, top + h + 13);
        else context.fillText(String(row), left - 4, top + (tick + 0.5) * h / count + 4);
      }
    }
    context.textAlign = "center";
    context.fillText(picture.x, left + w / 2, top + h + 26);
    context.textAlign = "left";
    context.fillText(`${picture.y} ↓`, 1, top - 6);
    context.textAlign = "right";
    const [low, high] = picture.ends;
    context.fillText(`${picture.unit} ${say3(low)} … ${say3(high)}`, left + w, top - 6);
    for (const neuron of picture.marked ?? []) {
      context.fillStyle = "rgba(160,160,160,0.85)";
      context.fillRect(left, top + neuron * h / picture.rows, w, h / picture.rows);
    }
  }
  const say3 = (value) => value && Math.abs(value) < 1e-3 ? Number(value).toExponential(1)
    : Number(Number(value).toPrecision(3));

  // Outlines training pairs, cached by size.
  function outline(context, picture, left, top, w, h) {
    const run = picture.outlined, { p, n_train } = run.about, key = `${w}x${h}`;
    if (run.outlineKey !== key) {
      const canvas = new OffscreenCanvas(Math.ceil(w * 2), Math.ceil(h * 2));
      const pen = canvas.getContext("2d");
      pen.scale(2, 2);
      pen.strokeStyle = "rgba(255,255,255,0.75)";
      pen.lineWidth = 0.6;
      run.cells.forEach((example, cell) => {
        if (example < 0 || example >= n_train) return;
        pen.strokeRect((cell % p) * w / p + 0.3, Math.floor(cell / p) * h / p + 0.3, w / p - 0.6, h / p - 0.6);
      });
      Object.assign(run, { outlineKey: key, outlines: canvas });
    }
    context.drawImage(run.outlines, left, top, w, h);
  }

  // Draws residues x, connected around the circle in the order of k x, or elements of a group.
  function paintPoints(context, { points, whole, n, k, reach, unit, around, name }, width, height, ink) {
    const half = Math.min(width, height) / 2 - 16, x = (i, of = points) => width / 2 + half * of[i] / reach;
    const y = (i, of = points) => height / 2 - half * of[n + i] / reach;
    context.strokeStyle = style("--line");
    // A difference: a line from each element's place before to its place after.
    if (whole) for (let i = 0; i < n; i++) {
      context.beginPath();
      context.moveTo(x(i, whole), y(i, whole));
      context.lineTo(x(i), y(i));
      context.stroke();
    }
    const order = [...Array(n).keys()].sort((i, j) => (k * i) % n - (k * j) % n);
    if (around && !whole) {
      context.beginPath();
      order.concat(order[0]).forEach((i, at) => context[at ? "lineTo" : "moveTo"](x(i), y(i)));
      context.stroke();
    }
    const every = Math.ceil(n / 24), named = [];
    const isFree = (i) => named.every(([left, top]) => Math.abs(left - x(i)) > 17 || Math.abs(top - y(i)) > 12);
    for (let i = 0; i < n; i++) {
      context.fillStyle = `hsl(${360 * ((around ? k * i : i) % n) / n}, 65%, 48%)`;
      context.beginPath();
      context.arc(x(i), y(i), 3, 0, 7);
      context.fill();
      context.fillStyle = ink;
      if (i % every || !isFree(i)) continue;
      context.fillText(String(name(i)), x(i), y(i) - 5);
      named.push([x(i), y(i)]);
    }
    context.textAlign = "right";
    context.fillText(unit, width - 4, height - 6);
  }

  function sized(canvas) {
    const ratio = window.devicePixelRatio || 1, { clientWidth: width, clientHeight: height } = canvas;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return [context, width, height];
  }

  function draw() {
    const began = performance.now();
    runs.forEach((run, number) => {
      run.shown = {};
      if (!run.base.kept.has(run.at)) run.base.want(run.at);
      const known = run.now.kept.has(run.at), section = byId(`figure-pairs-${number}`).closest("section");
      section.setAttribute("aria-busy", String(!known));
      if (!known) { run.now.want(run.at); byId(`numbers-${number}`).textContent = "…"; return; }
      findOrder(run);
      for (const [name, describe] of Object.entries(PICTURES)) {
        const figure = byId(`figure-${name}-${number}`), picture = describe(run);
        const dense = name === "mask" && run.mask && !picture;
        figure.hidden = !picture && !dense;
        if (name === "mask") sayDense(figure, run, dense);
        if (!picture) continue;
        const caption = figure.querySelector("figcaption span"), words = addition(run, name, picture);
        if (caption.textContent !== words) caption.textContent = words;
        run.shown[name] = picture;
        const [context, width, height] = sized(byId(`${name}-${number}`));
        paint(context, picture, width, height);
      }
      sayNumbers(run, number);
    });
    drawCurve();
    sayLegend();
    byId("step-words").textContent = runs.map((run) => `step ${run.about.steps[run.at].toLocaleString("en")}`).join(" | ") + missing;
    placeSlider();
    performance.measure("scrub", { start: began, end: performance.now() });
  }

  // A mask without pruned entries is a sentence instead of a picture.
  function sayDense(figure, run, dense) {
    figure.querySelector("canvas").hidden = figure.querySelector(".saves").hidden = dense;
    const button = figure.querySelector(".dense");
    button.hidden = !dense;
    if (dense) button.textContent = `${run.mask.weight} is dense: nothing is pruned. Show it to cut edges.`;
  }

  // The legend: a colour for each run, dashed for train.
  function sayLegend() {
    const names = [...runs.map((run) => run.about.label), ...(fork ? [fork.label] : [])];
    const key = JSON.stringify([names, isDark()]), legend = byId("legend");
    if (legend.dataset.key === key) return;
    legend.dataset.key = key;
    legend.replaceChildren(...names.map((name, number) =>
      Object.assign(document.createElement("b"), { textContent: name, style: `color: ${colorOf(number)}` })),
      "solid test, dashed train, thick with interventions");
  }

  function sayNumbers(run, number) {
    const words = (part) => part ? `train ${(100 * part[0]).toFixed(1)} %, test ${(100 * part[2]).toFixed(1)} %; `
      + `loss ${say3(part[1])}, ${say3(part[3])}` : "";
    const whole = run.now === run.base ? "" : run.base.part(run.at, "performance");
    byId(`numbers-${number}`).textContent = words(run.now.part(run.at, "performance"))
      + (whole ? ` (whole: ${words(whole)})` : "");
  }

  // --- the learning curves --------------------------------------------------------------------

  // The slider's axis is the curves': logarithmic in the step.
  function placeSlider() {
    const step = runs[0].about.steps[view.at], slider = byId("step"), typed = byId("go-to");
    slider.setAttribute("aria-valuetext", `step ${step.toLocaleString("en")}`);
    set(slider, Math.round(FINE * stepPlace(step, lastStep())));
    if (document.activeElement !== typed) set(typed, step);
  }
  function set(input, value) {
    if (Number(input.value) !== value) input.value = value;
  }
  const FINE = 100000; // positions of the slider
  const stepAt = (share) => 10 * Math.expm1(Math.min(1, Math.max(0, share)) * Math.log1p(lastStep() / 10));

  const lastStep = () => Math.max(...runs.map((run) => run.about.steps.at(-1)), fork?.last ?? 1);
  const stepPlace = (step, last) => Math.log1p(step / 10) / Math.log1p(last / 10);

  function drawCurve() {
    const [context, width, height] = sized(byId("curve"));
    context.clearRect(0, 0, width, height);
    const last = lastStep();
    const half = width / 2, plots = [["accuracy", 44, half - 60], ["loss", half + 44, half - 60]];
    const top = 16, deep = height - top - 20, ink = style("--ink");
    for (const [quantity, left, wide] of plots) {
      const x = (step) => left + wide * stepPlace(step, last);
      const y = quantity === "accuracy" ? (value) => top + deep * (1 - value)
        : (value) => top + deep * (1 - (Math.log10(Math.max(value, 1e-8)) + 8) / 10);
      context.font = "11px Helvetica, Arial, sans-serif";
      const title = quantity === "accuracy" ? "accuracy" : "loss (log)";
      if (runs[0]) phases(context, runs[0], x, top, deep, quantity === "accuracy");
      milestones(context, x, left + context.measureText(title).width, left + wide);
      context.fillStyle = ink;
      context.strokeStyle = style("--line");
      context.lineWidth = 1;
      context.strokeRect(left, top, wide, deep);
      context.textAlign = "left";
      context.fillText(title, left, 11);
      context.textAlign = "center";
      let end = -Infinity;
      for (const step of [0, 10, 100, 1000, 10000, 100000, 1000000].filter((tick) => tick <= last)) {
        const words = step >= 1000 ? `${step / 1000}k` : `${step}`, half = context.measureText(words).width / 2;
        if (x(step) - half < end + 4) continue;
        context.fillText(words, x(step), height - 6);
        end = x(step) + half;
      }
      context.textAlign = "right";
      for (const value of quantity === "accuracy" ? [0, 0.5, 1] : [1e-8, 1e-4, 1])
        context.fillText(quantity === "accuracy" ? `${100 * value} %` : value, left - 4, y(value) + 4);
      if (fork) for (const side of ["train", "test"])
        line(context, fork.curve.step, fork.curve[quantity][side], x, y, colorOf(runs.length), side === "train" ? [4, 3] : [], 1, 2);
      runs.forEach((run, number) => {
        for (const side of ["train", "test"])
          line(context, run.about.curve.step, run.about.curve[quantity][side], x, y, colorOf(number), side === "train" ? [4, 3] : [], run.now === run.base ? 1 : 0.6, 1.5);
        if (run.now !== run.base) intervenedLine(context, run, quantity, x, y, colorOf(number));
        context.strokeStyle = colorOf(number);
        context.setLineDash([]);
        context.lineWidth = 1.5;
        context.beginPath();
        context.moveTo(x(run.about.steps[run.at]), top);
        context.lineTo(x(run.about.steps[run.at]), top + deep);
        context.stroke();
      });
    }
  }

  // The phases of a run, shaded; their names stand halfway up, where accuracy has left room for them.
  function phases(context, run, x, top, deep, named) {
    const { t_mem, t_gen } = run.about.milestones, last = run.about.steps.at(-1);
    const ends = [];
    if (t_mem !== null) ends.push([0, t_mem, "memorizes", "rgba(0,114,178,0.10)"]);
    if (t_mem !== null) ends.push([t_mem, t_gen ?? last, "plateau", "rgba(150,150,150,0.10)"]);
    if (t_gen !== null) ends.push([t_gen, last, "generalized", "rgba(0,158,115,0.13)"]);
    for (const [from, to, words, color] of ends) {
      context.fillStyle = color;
      context.fillRect(x(from), top, x(to) - x(from), deep);
      context.fillStyle = style("--faint");
      context.textAlign = "center";
      const fits = x(to) - x(from) > context.measureText(words).width + 6;
      if (named && fits) context.fillText(words, (x(from) + x(to)) / 2, top + deep / 2 + 4);
    }
  }

  // t_mem and t_gen of every run, in its colour, right of the title.
  function milestones(context, x, title, right) {
    const taken = [[-Infinity, title]];
    runs.forEach((run, number) => {
      for (const [name, step] of Object.entries(run.about.milestones)) {
        if (step === null) continue;
        const words = `${name} ${step.toLocaleString("en")}`, half = context.measureText(words).width / 2;
        const at = Math.min(x(step), right - half);
        const isFree = taken.every(([from, to]) => at - half > to + 4 || at + half < from - 4);
        context.fillStyle = runs.length > 1 ? colorOf(number) : style("--faint");
        context.textAlign = "center";
        if (isFree) context.fillText(words, at, 11);
        if (isFree) taken.push([at - half, at + half]);
        context.fillRect(x(step) - 0.5, 14, 1.5, 5);
      }
    });
  }

  function line(context, steps, values, x, y, color, dash, alpha, width) {
    context.strokeStyle = color;
    context.globalAlpha = alpha;
    context.lineWidth = width;
    context.setLineDash(dash);
    context.beginPath();
    let pen = "moveTo";
    steps.forEach((step, i) => {
      if (values[i] === null || Number.isNaN(values[i])) { pen = "moveTo"; return; }
      context[pen](x(step), y(values[i]));
      pen = "lineTo";
    });
    context.stroke();
    context.globalAlpha = 1;
    context.setLineDash([]);
  }

  // The curve with interventions: a line over the loaded steps, with dots if there are few.
  function intervenedLine(context, run, quantity, x, y, color) {
    const known = [...run.now.kept.keys()].sort((a, b) => a - b), steps = known.map((at) => run.about.steps[at]);
    for (const [side, place] of [["train", 0], ["test", 2]]) {
      const values = known.map((at) => run.now.part(at, "performance")[place + (quantity === "loss" ? 1 : 0)]);
      line(context, steps, values, x, y, color, side === "train" ? [4, 3] : [], 1, 2.5);
      context.fillStyle = color;
      if (known.length < 30) values.forEach((value, i) => { context.beginPath(); context.arc(x(steps[i]), y(value), 3, 0, 7); context.fill(); });
    }
  }

  // --- user actions ---------------------------------------------------------------------------

  // Moves the other runs to the same step, or to the first step with the first run's accuracy.
  function settle() {
    runs.forEach((run, number) => {
      if (number === 0) { run.at = view.at; return; }
      const first = runs[0], step = first.about.steps[first.at];
      run.at = view.lock === "accuracy" ? sameAccuracy(run, first, step) : nearest(run.about.steps, step);
    });
  }
  function nearest(steps, step) {
    let best = 0;
    steps.forEach((each, i) => { if (Math.abs(each - step) < Math.abs(steps[best] - step)) best = i; });
    return best;
  }
  function sameAccuracy(run, first, step) {
    const accuracy = curveAt(first, step);
    const found = run.about.steps.findIndex((each) => curveAt(run, each) >= accuracy);
    return found < 0 ? run.about.steps.length - 1 : found;
  }
  function curveAt(run, step) {
    const { step: steps, accuracy } = run.about.curve;
    return steps.length ? accuracy.test[nearest(steps, step)] : 0;
  }

  function scrub(at, settled = false, words = "") {
    missing = words;
    view.at = Math.min(Math.max(0, at), runs[0].about.steps.length - 1);
    settle();
    draw();
    if (settled) release();
  }
  const goTo = (at) => scrub(at, true);
  let missing = ""; // says that the typed step has no checkpoint
  function goToStep(step) {
    const { steps } = runs[0].about, at = nearest(steps, step);
    scrub(at, true, steps[at] === step ? "" : `, the nearest checkpoint to ${step.toLocaleString("en")}`);
  }

  let released = 0;
  async function release() {
    tell("at", { data: runs.map((run) => run.at) });
    const mine = ++released;
    for (const run of runs) {
      try {
        const answer = await ask("mask", { run: run.number, at: run.at, do: run.now.doing, weight: view.mask });
        if (mine !== released) return;
        run.mask = { kept: new Uint8Array(await answer.arrayBuffer()), weight: view.mask,
          shape: answer.headers.get("X-Shape").split(",").map(Number) };
      } catch (error) { say(error.message); }
    }
    draw();
  }

  function clicked(data) { tell("clicked", { data: { ...data, click: ++clicks } }); }

  async function overTraining() {
    byId("progress").value = 0;
    try {
      const tables = runs.flatMap((run) => run.now === run.base ? [run.base] : [run.base, run.now]);
      for (const [number, rows] of tables.entries()) {
        await rows.fill(rows.run.at, (share) => {
          byId("progress").value = (number + share) / tables.length;
          draw();
        });
      }
      byId("progress").value = 1;
      draw();
      say("");
    } catch (error) { say(error.message); }
  }

  function play() {
    clearInterval(playing);
    playing = playing ? null : setInterval(() => {
      const next = (view.at + 1) % runs[0].about.steps.length;
      scrub(next);
    }, 60);
    byId("play").textContent = playing ? "Pause" : "Play";
    if (!playing) release();
  }

  function copy(words, done, failed) {
    const refused = () => say(failed);
    if (navigator.clipboard) navigator.clipboard.writeText(words).then(() => say(done), refused);
    else refused();
  }

  function copyPython() {
    copy(byId("python").textContent, "The Python is copied.", "The browser did not let it be copied: select it below.");
  }

  // The address of this view.
  function link() {
    const given = new URLSearchParams({ at: runs[0].about.steps[view.at], frequency: view.frequency,
      neuron: view.neuron, "pairs-show": view.show, "mask-of": view.mask, lock: view.lock,
      state: view.state, order: view.order, do: JSON.stringify(listed) });
    return `${location.origin}${location.pathname}?${given}`;
  }

  function copyLink() {
    history.replaceState(null, "", link());
    copy(link(), "The link is copied.", "The link is in the address bar.");
  }

  // The step under the pointer on the learning curves; null outside.
  function stepUnder(event) {
    const canvas = byId("curve");
    if (event.target !== canvas) return null;
    const edge = canvas.getBoundingClientRect(), half = edge.width / 2;
    return stepAt(((event.clientX - edge.left) % half - 44) / (half - 60));
  }
  function curveWords(step) {
    const words = [...runs.map((run) => run.about), ...(fork ? [fork] : [])].map(({ label, curve }) => {
      if (!curve.step.length) return `${label}: no evaluation`;
      const i = nearest(curve.step, step), share = (side) => curve.accuracy[side][i];
      const numbers = share("test") === null ? `loss train ${say3(curve.loss.train[i])}, test ${say3(curve.loss.test[i])}`
        : `train ${(100 * share("train")).toFixed(1)} %, test ${(100 * share("test")).toFixed(1)} %; loss ${say3(curve.loss.train[i])}, ${say3(curve.loss.test[i])}`;
      return `${label}, step ${curve.step[i].toLocaleString("en")}: ${numbers}`;
    });
    return words.join("; ");
  }

  // The picture under the pointer, and the row and column in it.
  function under(event) {
    const canvas = event.target.closest?.("canvas");
    const [, name, number] = canvas?.id.match(/^([a-z]+)-(\d+)$/) ?? [];
    const picture = runs[number]?.shown?.[name];
    if (!picture || picture.points) return null;
    const edge = canvas.getBoundingClientRect(), { left, top, width, height } = box(picture, edge.width, edge.height);
    const column = Math.floor((event.clientX - edge.left - left) / width * picture.columns);
    const row = Math.floor((event.clientY - edge.top - top) / height * picture.rows);
    const inside = row >= 0 && column >= 0 && row < picture.rows && column < picture.columns;
    return inside ? { picture, row, column, id: canvas.id } : null;
  }

  let pressed = null;
  // Not controls of Dash, which would set them to their values again.
  function addInput(place, given) {
    byId(place).append(Object.assign(document.createElement("input"), given));
  }
  function listen() {
    addInput("slider", { type: "range", id: "step", min: 0, max: FINE, ariaLabel: "Checkpoint" });
    addInput("go-to-place", { type: "number", id: "go-to", min: 0, ariaLabel: "Go to step" });
    tip = document.body.appendChild(Object.assign(document.createElement("div"), { id: "tip", hidden: true }));
    document.addEventListener("input", (event) => { if (event.target.id === "step") scrub(nearest(runs[0].about.steps, stepAt(Number(event.target.value) / FINE))); });
    document.addEventListener("change", (event) => {
      if (event.target.id === "step") release();
      if (event.target.id === "go-to" && event.target.value !== "") goToStep(Number(event.target.value));
    });
    document.addEventListener("pointermove", (event) => {
      const found = under(event), step = stepUnder(event);
      tip.hidden = !found && step === null;
      if (tip.hidden) return;
      if (step !== null && event.buttons === 1) scrub(nearest(runs[0].about.steps, step));
      tip.textContent = found ? found.picture.hover(found.row, found.column) : curveWords(step);
      tip.style.left = `${Math.min(event.clientX + 12, window.innerWidth - 260)}px`;
      tip.style.top = `${event.clientY + 14}px`;
    });
    document.addEventListener("pointerdown", (event) => { pressed = under(event); });
    document.addEventListener("pointerup", (event) => {
      const found = under(event);
      if (found === null || pressed?.id !== found.id) return;
      const { picture, row, column } = found, [low, high] = [pressed.row, row].sort((a, b) => a - b);
      if (picture.lasso) picture.lasso(Array.from({ length: high - low + 1 }, (_, i) => low + i));
      else picture.click?.(row, column);
    });
    byId("curve").addEventListener("click", (event) => goTo(nearest(runs[0].about.steps, stepUnder(event))));
    document.addEventListener("click", (event) => {
      const save = event.target.dataset?.save;
      if (save) savePicture(event.target.closest("figure"), save);
      if (event.target.classList?.contains("dense")) {
        runs[event.target.closest("figure").id.match(/\d+$/)[0]].maskWanted = true;
        draw();
      }
      ({ play, "copy-link": copyLink, "copy-python": copyPython, "over-training": overTraining, theme })[event.target.id]?.();
    });
    document.addEventListener("keydown", (event) => {
      const onSlider = event.target.id === "step";
      if (!onSlider && event.target.closest("input, textarea, [role=combobox], [role=listbox], button")) return;
      const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
      if (by) { event.preventDefault(); goTo(view.at + by); }
      if (event.key === " ") { event.preventDefault(); play(); }
    });
    new ResizeObserver(draw).observe(document.body);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  }

  const isDark = () => (document.documentElement.dataset.theme
    ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const colorOf = (number) => COLORS[isDark() ? "dark" : "light"][number % 6];

  function theme() {
    document.documentElement.dataset.theme = isDark() ? "light" : "dark";
    draw();
  }

  // --- saving pictures ------------------------------------------------------------------------

  // Implements the canvas calls used by pictures, as SVG.
  class Svg {
    constructor(width, height) { Object.assign(this, { parts: [], path: "", textAlign: "left", width, height }); }
    clearRect() {}
    setLineDash(dash) { this.dash = dash.join(" "); }
    add(tag, given, text = "") {
      const words = Object.entries(given).map(([name, value]) => `${name}="${value}"`).join(" ");
      this.parts.push(`<${tag} ${words}>${text}</${tag}>`);
    }
    drawImage(canvas, x, y, width, height) {
      const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
      copy.getContext("2d").drawImage(canvas, 0, 0);
      this.add("image", { x, y, width, height, preserveAspectRatio: "none", style: "image-rendering:pixelated", href: copy.toDataURL() });
    }
    strokeRect(x, y, width, height) { this.add("rect", { x, y, width, height, fill: "none", stroke: this.strokeStyle }); }
    fillRect(x, y, width, height) { this.add("rect", { x, y, width, height, fill: this.fillStyle }); }
    fillText(text, x, y) {
      const anchor = { left: "start", center: "middle", right: "end" }[this.textAlign];
      this.add("text", { x, y, "text-anchor": anchor, "font-size": 11, "font-family": "Helvetica, Arial", fill: this.fillStyle }, text);
    }
    beginPath() { this.path = ""; this.round = null; }
    moveTo(x, y) { this.path += `M${x} ${y}`; }
    lineTo(x, y) { this.path += `L${x} ${y}`; }
    arc(cx, cy, r) { this.round = { cx, cy, r }; }
    stroke() { this.add("path", { d: this.path, fill: "none", stroke: this.strokeStyle, "stroke-dasharray": this.dash ?? "" }); }
    fill() { if (this.round) this.add("circle", { ...this.round, fill: this.fillStyle }); }
    text() { return `<svg xmlns="http://www.w3.org/2000/svg" width="${this.width}" height="${this.height}">${this.parts.join("")}</svg>`; }
  }

  function commas(picture) {
    if (picture.points) {
      const rows = Array.from({ length: picture.n }, (_, i) => `${i},${picture.points[i]},${picture.points[picture.n + i]}`);
      return ["residue,cosine,sine", ...rows].join("\n");
    }
    const rows = Array.from({ length: picture.rows }, (_, row) =>
      [picture.order?.[row] ?? row, ...picture.values.slice(row * picture.columns, (row + 1) * picture.columns)].join(","));
    return [[picture.y, ...Array(picture.columns).keys()].join(","), ...rows].join("\n");
  }

  function savePicture(figure, kind) {
    const canvas = figure.querySelector("canvas"), [, name, number] = canvas.id.match(/^([a-z]+)-(\d+)$/);
    const run = runs[number], picture = run.shown[name], { clientWidth: width, clientHeight: height } = canvas;
    let href;
    if (kind === "PNG") href = canvas.toDataURL();
    else if (kind === "CSV") href = URL.createObjectURL(new Blob([commas(picture)], { type: "text/csv" }));
    else {
      const svg = new Svg(width, height);
      paint(svg, picture, width, height);
      href = URL.createObjectURL(new Blob([svg.text()], { type: "image/svg+xml" }));
    }
    const file = `${run.about.label}-${name}-${run.about.steps[run.at]}.${kind.toLowerCase()}`;
    Object.assign(document.createElement("a"), { href, download: file }).click();
  }

  // --- callbacks of Dash ----------------------------------------------------------------------

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    explorer: {
      begin: async (_, numbers) => {
        try {
          runs = await Promise.all(numbers.map(async (number) =>
            ({ number, about: await (await ask("about", { run: number })).json() })));
          runs.forEach(open);
          const asked = new URLSearchParams(location.search).get("at");
          view.at = asked === null ? runs[0].about.steps.length - 1 : nearest(runs[0].about.steps, Number(asked));
          if (!view.mask) view.mask = document.body.dataset.mask ?? Object.keys(runs[0].about.matrices)[0];
          listen();
          settle();
          setInterventions();
          draw();
          await release();
          fillAll();
          document.body.dataset.ready = "yes";
        } catch (error) { say(error.message); }
        return numbers;
      },
      // Opens the page again with other runs, in the same view.
      show: async (numbers) => {
        try {
          await ask("show", { runs: numbers.join(",") });
          history.replaceState(null, "", link());
          location.reload();
        } catch (error) { say(error.message); }
        return window.dash_clientside.no_update;
      },
      fork: (data) => {
        fork = data ?? null;
        if (runs.length) { drawCurve(); sayLegend(); placeSlider(); }
        return window.dash_clientside.no_update;
      },
      look: (frequency, neuron, show, mask, lock, shownState, order, head, effects, items) => {
        listed = items ?? [];
        const other = neuron !== view.neuron && Number.isInteger(neuron);
        Object.assign(view, { frequency: frequency ?? 1, show, lock, mask, state: shownState, order, head: head ?? 0 });
        runs.forEach((run, number) => { run.effects = effects?.[number]; });
        if (other) view.neuron = neuron;
        if (!runs.length) return window.dash_clientside.no_update;
        if (other) runs.forEach(open);
        setInterventions();
        settle();
        draw();
        release();
        if (other) fillAll();
        return window.dash_clientside.no_update;
      },
    },
  });

  function setInterventions() {
    const doing = HASH(listed);
    runs.forEach((run) => {
      if (run.now.doing === doing) return;
      run.now.stopped = run.now !== run.base;
      run.now = doing === "[]" ? run.base : new Rows(run, doing);
    });
    byId("progress").value = 0;
  }
})();
