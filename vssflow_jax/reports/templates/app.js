// Gradio's fields take the files whose kind the browser guesses from their names. The server
// decides by their content: each file passes as the kind that its field expects.
const passAs = (files, kind) => {
  const passed = new DataTransfer();
  for (const file of files) passed.items.add(new File([file], file.name, {type: kind}));
  return passed;
};
const findKind = (element) => {
  if (element.closest("#video")) return "video/mp4";
  return element.closest("[id^=voice]") ? "audio/wav" : null;
};
document.addEventListener("click", (event) => {
  const isUpload = event.target.type === "file" && findKind(event.target);
  if (isUpload && matchMedia("(pointer: fine)").matches) event.target.removeAttribute("accept");
}, true);
document.addEventListener("change", (event) => {
  const kind = event.target.type === "file" && findKind(event.target);
  if (kind) event.target.files = passAs(event.target.files, kind).files;
}, true);
document.addEventListener("drop", (event) => {
  const kind = findKind(event.target);
  if (!kind || !event.isTrusted || !event.dataTransfer.files.length) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  event.target.dispatchEvent(new DragEvent("drop", {
    bubbles: true, cancelable: true, dataTransfer: passAs(event.dataTransfer.files, kind),
  }));
}, true);
