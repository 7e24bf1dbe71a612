"use strict";
/* The page of one prediction: the video, the curves of the chosen face and its bars in step; see chart.js. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const video = document.querySelector("video");
  const slider = document.getElementById("timeline");
  const clock = document.getElementById("clock");
  const saidNow = document.getElementById("said");
  const faces = [...document.querySelectorAll('input[name="face"]')];
  if (!data.faces.length) return;
  const chart = makeChart(slider, data.classes);
  const showBars = makeBars(document.getElementById("bars"), data.classes);
  let face = data.faces[0], now = 0;

  /* The last point that is no later, unless its stretch ended before. */
  function pointAt(seconds) {
    let low = 0, high = face.points.length - 1, best = -1;
    while (low <= high) {
      let middle = (low + high) >> 1;
      const probe = face.points[middle] || face.points[middle - 1];
      if (probe[0] <= seconds + 0.002) { best = middle; low = middle + 1; } else high = middle - 1;
    }
    if (best < 0) return null;
    const point = face.points[best] || face.points[best - 1];
    const ends = !face.points[best] || !face.points[best + 1];
    return ends && seconds - point[0] > face.hold ? null : point;
  }

  function show(seconds) {
    now = seconds;
    const point = pointAt(seconds);
    chart.at(seconds);
    showBars(point);
    clock.textContent = clockText(seconds);
    saidNow.textContent = point ? "" : "no clip of this face here";
    slider.setAttribute("aria-valuenow", seconds.toFixed(2));
    slider.setAttribute("aria-valuetext", point
      ? `${clockText(seconds)}, ${data.classes[point.indexOf(Math.max(...point.slice(1)), 1) - 1]}`
      : clockText(seconds));
  }

  function seek(seconds) {
    const place = Math.min(Math.max(seconds, 0), data.end);
    if (video) video.currentTime = place;
    show(place);
  }

  function choose(number) {
    face = data.faces[number];
    faces[number].checked = true;
    chart.show(face.points, 0, data.end);
    show(now);
  }
  faces.forEach((radio, number) => radio.addEventListener("change", () => choose(number)));

  slider.addEventListener("pointerdown", (event) => {
    slider.setPointerCapture(event.pointerId);
    seek(chart.secondsAt(event));
  });
  slider.addEventListener("pointermove", (event) => {
    if (slider.hasPointerCapture(event.pointerId)) seek(chart.secondsAt(event));
  });

  if (video) {
    for (const name of ["timeupdate", "seeking", "seeked"]) {
      video.addEventListener(name, () => show(video.currentTime));
    }
    const everyFrame = (time, frame) => {
      if (!video.seeking) show(frame.mediaTime);
      video.requestVideoFrameCallback(everyFrame);
    };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(everyFrame);
  }

  const keys = {
    ArrowLeft: (event) => seek(now - (event.shiftKey ? data.step : 1)),
    ArrowRight: (event) => seek(now + (event.shiftKey ? data.step : 1)),
    Home: () => seek(0),
    End: () => seek(data.end),
    " ": () => { if (video) video.paused ? video.play() : video.pause(); },
  };
  document.addEventListener("keydown", (event) => {
    const own = event.target.closest("a, button, summary, pre");
    if (event.ctrlKey || event.altKey || event.metaKey || (own && event.key === " ")) return;
    const number = Number(event.key) - 1;
    if (keys[event.key]) keys[event.key](event);
    else if (event.key >= "1" && event.key <= "9" && faces[number]) choose(number);
    else return;
    event.preventDefault();
  }, true);

  const asked = Number(new URLSearchParams(location.hash.slice(1)).get("t"));
  choose(data.first);
  if (asked > 0) seek(asked);
})();
