"use strict";
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const clock = (second) => {
  const whole = Math.floor(second), hours = Math.floor(whole / 3600);
  const pad = (n) => String(n).padStart(2, "0");
  const minutes = Math.floor(whole / 60) % 60;
  return (hours ? hours + ":" + pad(minutes) : minutes) + ":" + pad(whole % 60);
};
/** A canvas as sharp as the screen; returns its context, in CSS pixels. */
const sharp = (canvas, width, height) => {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
};

(() => { // the timeline
  const data = read("data"), canvas = document.getElementById("timeline"), said = document.getElementById("said");
  const video = document.getElementById("video"), cards = [...document.querySelectorAll(".event")];
  const { seconds, scores, p_values, level, spans } = data;
  const end = Math.max(seconds[seconds.length - 1], 0.1), foot = 22;
  const top = Math.max(level, ...scores) * 1.08 || 1, floor = Math.min(0, level, ...scores);
  let now = 0;
  canvas.setAttribute("aria-valuemax", end);
  const draw = () => {
    const width = canvas.clientWidth, height = canvas.clientHeight, context = sharp(canvas, width, height);
    const x = (second) => second / end * width;
    const y = (score) => (height - foot) * (1 - (score - floor) / (top - floor));
    context.fillStyle = colour("--span");
    for (const [start, stop] of spans) context.fillRect(x(start), 0, Math.max(2, x(stop) - x(start)), height - foot);
    context.strokeStyle = colour("--score");
    context.lineWidth = 1.5;
    context.beginPath();
    seconds.forEach((second, n) => context.lineTo(x(second), y(scores[n])));
    context.stroke();
    context.strokeStyle = colour("--alarm");
    context.setLineDash([5, 4]);
    context.beginPath();
    context.moveTo(0, y(level));
    context.lineTo(width, y(level));
    context.stroke();
    context.setLineDash([]);
    context.strokeStyle = colour("--line");
    context.strokeRect(0.5, 0.5, width - 1, height - foot - 1);
    context.fillStyle = colour("--soft");
    context.font = "12px system-ui, sans-serif";
    const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
    const step = steps.find((each) => x(each) > 60) || Math.ceil(end / 3600) * 3600;
    for (let tick = 0; tick <= end; tick += step) {
      const text = clock(tick), wide = context.measureText(text).width;
      context.fillText(text, Math.min(Math.max(0, x(tick) - wide / 2), width - wide), height - 6);
    }
    context.fillStyle = colour("--ink");
    context.fillRect(Math.min(x(now), width - 2), 0, 2, height - foot);
  };
  const show = (second) => {
    now = Math.min(Math.max(second, 0), end);
    let low = 0, high = seconds.length - 1; // the frame shown then: the last that has begun
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (seconds[middle] <= now + 0.001) low = middle; else high = middle - 1;
    }
    const event = spans.findIndex(([start, stop]) => now >= start - 0.001 && now <= stop + 0.001);
    cards.forEach((card, n) => card.classList.toggle("now", n === event));
    said.textContent = `${now.toFixed(1)} s: score ${scores[low].toPrecision(3)}, p ${p_values[low]}` +
      (event < 0 ? "" : `, event ${event + 1}`);
    canvas.setAttribute("aria-valuenow", now.toFixed(1));
    draw();
  };
  const seek = (second) => {
    if (video) video.currentTime = second;
    show(second);
  };
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    seek((event.clientX - box.left) / box.width * end);
  });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    seek(now + by);
  });
  cards.forEach((card) => card.addEventListener("click", () => {
    seek(Number(card.dataset.second));
    (video || canvas).scrollIntoView({ block: "nearest", behavior: "smooth" });
  }));
  if (video) video.addEventListener("timeupdate", () => show(video.currentTime));
  new ResizeObserver(draw).observe(canvas);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();

(() => { // the region of interest; corners are in pixels of the video
  const { width, height, name, first } = read("native"), canvas = document.getElementById("region");
  const [undo, clear, download] = ["undo", "clear", "download"].map((id) => document.getElementById(id));
  const corners = [], picture = new Image();
  let held = null;
  const path = (context, scale) => {
    context.beginPath();
    corners.forEach(([x, y]) => context.lineTo(x * scale, y * scale));
    context.closePath();
  };
  const draw = () => {
    const shown = canvas.clientWidth, scale = shown / width, context = sharp(canvas, shown, height * scale);
    context.drawImage(picture, 0, 0, shown, height * scale);
    if (corners.length > 2) { // all but the polygon is dimmed
      context.save();
      context.fillStyle = "rgba(0, 0, 0, .6)";
      path(context, scale);
      context.rect(0, 0, shown, height * scale);
      context.fill("evenodd");
      context.restore();
    }
    context.strokeStyle = context.fillStyle = "#ffd54a";
    context.lineWidth = 2;
    path(context, scale);
    context.stroke();
    for (const [x, y] of corners) {
      context.beginPath();
      context.arc(x * scale, y * scale, 6, 0, 7);
      context.fill();
    }
    undo.disabled = clear.disabled = corners.length === 0;
    download.disabled = corners.length < 3;
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    const within = (value, most) => Math.min(Math.max(value, 0), most);
    return [within((event.clientX - box.left) / box.width * width, width),
      within((event.clientY - box.top) / box.height * height, height)];
  };
  canvas.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    const [x, y] = place(event), near = 14 * width / canvas.clientWidth;
    held = corners.findIndex(([cx, cy]) => Math.hypot(cx - x, cy - y) < near);
    if (held < 0) held = corners.push([x, y]) - 1;
    canvas.setPointerCapture(event.pointerId);
    draw();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (held === null) return;
    corners[held] = place(event);
    draw();
  });
  for (const over of ["pointerup", "pointercancel"]) canvas.addEventListener(over, () => { held = null; });
  undo.addEventListener("click", () => { corners.pop(); draw(); });
  clear.addEventListener("click", () => { corners.length = 0; draw(); });
  download.addEventListener("click", () => {
    const mask = document.createElement("canvas");
    mask.width = width;
    mask.height = height;
    const context = mask.getContext("2d");
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    context.fillStyle = "#fff";
    path(context, 1);
    context.fill("evenodd");
    const pixels = context.getImageData(0, 0, width, height); // edges are smoothed: black or white, nothing between
    for (let n = 0; n < pixels.data.length; n++) if (n % 4 < 3) pixels.data[n] = pixels.data[n] < 128 ? 0 : 255;
    context.putImageData(pixels, 0, 0);
    mask.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }, "image/png");
  });
  picture.addEventListener("load", () => {
    new ResizeObserver(draw).observe(canvas);
    draw();
  });
  canvas.style.aspectRatio = `${width} / ${height}`;
  picture.src = first;
})();
