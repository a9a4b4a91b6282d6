// Text that is hard to read (WCAG 2.2, 1.4.3): its contrast with what is behind it is below 4.5 : 1. For test_page.py.
() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = ([r, g, b, a], [x, y, z]) => [r * a + x * (1 - a), g * a + y * (1 - a), b * a + z * (1 - a), 1];
  const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, two) => {
    const [a, b] = [light(one), light(two)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  };
  const behind = (element) => {
    if (!element) return [255, 255, 255, 1];
    const below = behind(element.parentElement);
    const style = getComputedStyle(element);
    const fill = element.matches("g.node") && getComputedStyle(element.querySelector("rect")).fill; // of the beam's tree
    const own = rgba(fill ? fill.replace("none", "transparent") : style.backgroundColor);
    own[3] *= Number(style.opacity);
    return over(own, below);
  };
  const opacity = (element) => (element ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1);
  const faint = [];
  const judge = (element, color, strength, text) => {
    const back = behind(element.matches(".token .share") ? element.closest(".tokens") : element); // stands beside its token
    const ink = rgba(color);
    ink[3] *= strength;
    const found = ratio(over(ink, back), back);
    const name = (one) => `${one.tagName} ${one.id} ${one.getAttribute("class") ?? ""}`;
    if (found < 4.5) faint.push(`${found.toFixed(2)} ${name(element.parentElement)} > ${name(element)}: ${text.slice(0, 20)}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.data.trim();
    if (!text || !element.checkVisibility() || element.closest(":disabled, .hidden, option, noscript, script, title")) continue;
    const style = getComputedStyle(element);
    if (parseFloat(style.fontSize) === 0) continue;
    judge(element, element instanceof SVGElement ? style.fill : style.color, opacity(element), text);
  }
  for (const field of document.querySelectorAll("textarea")) {
    const style = getComputedStyle(field, "::placeholder");
    if (!field.value) judge(field, style.color, Number(style.opacity) * opacity(field), field.placeholder);
  }
  return faint;
}
