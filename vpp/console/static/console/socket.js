// A websocket that comes back by itself and says on the page when it is down.

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 8000;
// The server beats twice a second: silence for longer means a dead link that TCP has not noticed.
const SILENT_AFTER_MS = 8000;
const REASONS = {
  4401: "You are signed out.",
  4403: "Your account may no longer read this page.",
  4404: "This site is no longer among those that you may see.",
};

export class Link {
  constructor(path, onMessage) {
    this.url = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${path}`;
    this.onMessage = onMessage;
    this.retryMs = FIRST_RETRY_MS;
    this.heardAt = 0;
    this.notice = "";
    this.open();
    setInterval(() => this.watch(), 1000);
    window.addEventListener("online", () => this.hurry());
  }

  open() {
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.timer = 0;
    socket.addEventListener("message", (event) => {
      this.heardAt = Date.now();
      this.retryMs = FIRST_RETRY_MS;
      this.down = false;
      this.show();
      this.onMessage(JSON.parse(event.data));
    });
    socket.addEventListener("close", (event) => {
      if (socket !== this.socket) return;
      this.down = true;
      if (event.code in REASONS) {
        this.final = REASONS[event.code];
        if (event.code === 4401) location.assign(`/login/?next=${encodeURIComponent(location.pathname)}`);
      } else {
        this.timer = setTimeout(() => this.open(), this.retryMs);
        this.retryMs = Math.min(2 * this.retryMs, LAST_RETRY_MS);
      }
      this.show();
    });
  }

  // Network is back: do not wait out the pause.
  hurry() {
    if (!this.down || this.final) return;
    clearTimeout(this.timer);
    this.open();
  }

  watch() {
    const open = this.socket.readyState === WebSocket.OPEN;
    if (open && this.heardAt && Date.now() - this.heardAt > SILENT_AFTER_MS) this.socket.close();
    this.show();
  }

  // What the page itself wants to say while the link is up, such as a broker that is gone.
  warn(text) {
    this.notice = text;
    this.show();
  }

  show() {
    const banner = document.getElementById("link-banner");
    let text = this.notice;
    let level = "warn";
    if (this.final) {
      text = this.final;
      level = "alarm";
    } else if (this.down) {
      const seconds = this.heardAt ? Math.round((Date.now() - this.heardAt) / 1000) : null;
      text = `Connection lost. The figures below ${seconds === null ? "have not arrived yet" : `are ${seconds} s old`}; reconnecting.`;
      level = "alarm";
    }
    if (banner.textContent !== text) banner.textContent = text;
    if (banner.dataset.level !== level) banner.dataset.level = level;
    if (banner.hidden === Boolean(text)) banner.hidden = !text;
  }
}
