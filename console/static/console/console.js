// Shortens the way where JavaScript runs. Every task of the console works without this file.
(function () {
  "use strict";
  document.documentElement.classList.add("js");

  function announce(id, text) {
    var region = document.getElementById(id);
    if (region) { region.textContent = text; }
  }

  // What went wrong or was done is read first: the failure, else the notification.
  function focusWhatMatters(root) {
    var first = root.querySelector("[data-focus]");
    if (first) { first.focus(); return; }
    if (root.querySelector(".flash")) { document.getElementById("flash").focus({ preventScroll: true }); }
  }

  function dismiss(button) {
    var flash = button.closest(".flash");
    var list = flash.parentElement;
    flash.remove();
    if (!list.children.length) { list.remove(); }
    document.getElementById("main").focus();
  }

  function copy(button) {
    navigator.clipboard.writeText(button.dataset.copy).then(function () {
      announce("live-polite", "Copied");
      button.classList.add("copied");
    });
  }

  function showMistake(text) {
    var bar = document.getElementById("flash");
    if (!bar) { return; }
    var list = document.createElement("ul");
    list.className = "flashbar";
    var item = document.createElement("li");
    item.className = "flash flash-error";
    item.setAttribute("role", "alert");
    item.textContent = text;
    list.append(item);
    bar.replaceChildren(list);
  }

  document.addEventListener("click", function (event) {
    var target = event.target.closest("[data-dismiss], [data-copy], [data-close-dialog], [aria-disabled='true']");
    document.querySelectorAll("details.menu[open]").forEach(function (menu) {
      if (!menu.contains(event.target)) { menu.open = false; }
    });
    if (!target) { return; }
    if (target.matches("[aria-disabled='true']")) { event.preventDefault(); return; }
    if (target.matches("[data-dismiss]")) { dismiss(target); }
    if (target.matches("[data-copy]")) { copy(target); }
    if (target.matches("[data-close-dialog]") && target.closest("dialog")) {
      event.preventDefault();
      target.closest("dialog").close();
    }
  });

  // The number beside the heading counts what is ticked on all pages of the table.
  document.addEventListener("change", function (event) {
    var counter = document.querySelector("[data-selected]");
    if (counter && event.target.matches(".select input[type=checkbox]")) {
      counter.textContent = String(Number(counter.textContent) + (event.target.checked ? 1 : -1));
    }
  });

  document.addEventListener("keydown", function (event) {
    if (event.key !== "Escape") { return; }
    var menu = document.querySelector("details.menu[open]");
    if (menu) { menu.open = false; menu.querySelector("summary").focus(); }
  });

  // The server makes one key of two clicks; the second is kept from being sent all the same.
  document.addEventListener("submit", function (event) {
    var button = event.submitter;
    if (!button || !button.dataset.busy) { return; }
    if (button.getAttribute("aria-disabled") === "true") { event.preventDefault(); return; }
    button.setAttribute("aria-disabled", "true");
    announce("live-polite", button.dataset.busy);
  });

  // Back after Finish shows the page as it was left, with its button still grey.
  window.addEventListener("pageshow", function (event) {
    if (!event.persisted) { return; }
    document.querySelectorAll("[data-busy][aria-disabled]").forEach(function (button) {
      button.removeAttribute("aria-disabled");
    });
  });

  // An answer that arrives between a button's way down and up waits: what it changes would move the page under the
  // pointer, or put a new button in place of the pressed one, and the click would be lost.
  var pressed = false;
  var held = [];
  function release() {
    pressed = false;
    held.splice(0).forEach(function (handle) { handle(); });
  }
  document.addEventListener("pointerdown", function () { pressed = true; }, true);
  ["pointerup", "pointercancel"].forEach(function (name) {
    document.addEventListener(name, function () { setTimeout(release); }, true);
  });
  // A press that ended out of the page's sight, in a menu of the browser's own, say.
  document.addEventListener("pointermove", function (event) { if (pressed && !event.buttons) { release(); } }, true);
  document.addEventListener("htmx:beforeSend", function (event) {
    var xhr = event.detail.xhr;
    var handle = xhr.onload;
    xhr.onload = function () { if (pressed) { held.push(handle); } else { handle(); } };
  });

  document.addEventListener("htmx:afterSwap", function (event) {
    var target = event.detail.target;
    if (target.id === "modal") {
      target.showModal();
      return;
    }
    var swapped = document.getElementById(target.id) || target;
    if (swapped.id === "keys-table") {
      announce("live-polite", swapped.dataset.announce);
      var total = swapped.dataset.announce.split(" ")[0];
      document.getElementById("keys-count").textContent = "(" + total + ")";
    } else if (swapped.dataset && swapped.dataset.announce) {
      announce("live-polite", swapped.dataset.announce);
    }
  });
  document.addEventListener("htmx:responseError", function () { showMistake("The server could not do that. Try again."); });
  document.addEventListener("htmx:sendError", function () { showMistake("The server can't be reached. Try again."); });

  document.addEventListener("DOMContentLoaded", function () { focusWhatMatters(document); });
})();
