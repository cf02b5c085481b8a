// The folder of a run that nobody plays: as many devices and rounds as are asked for, to
// see what a page makes of them. Its figures mean nothing.

import { appendFile, mkdir, writeFile } from "node:fs/promises";
import path from "node:path";

const BOARD = "mps2-an386";

export class SyntheticRun {
  #folder;
  #devices;
  #selected;
  #host = 1;
  /** A generator of Lehmer's: the same run each time. */
  #random = 1;
  round = 0;
  bytes = 0;

  constructor(folder, { devices, selected }) {
    this.#folder = folder;
    this.#devices = devices;
    this.#selected = selected;
  }

  #draw() {
    this.#random = (this.#random * 48271) % 0x7fffffff;
    return this.#random / 0x7fffffff;
  }

  #console(device) {
    return path.join(this.#folder, `console/device-${String(device).padStart(3, "0")}.log`);
  }

  async #append(name, text) {
    this.bytes += text.length;
    await appendFile(path.join(this.#folder, name), text);
  }

  /** Makes the folder, with a fleet that is ready. */
  async begin(rounds) {
    const devices = [...Array(this.#devices).keys()];
    await mkdir(path.join(this.#folder, "console"), { recursive: true });
    await writeFile(
      path.join(this.#folder, "experiment.toml"),
      `name = "synthetic"\nseed = 1\nrounds = ${rounds}\n\n[[fleet]]\nboard = "${BOARD}"\n` +
        `fidelity = "emulated"\ncount = ${this.#devices}\nlink = "ethernet"\n`,
    );
    await this.#append(
      "rounds.csv",
      "round,accuracy,loss,clients_selected,clients_ok,faults,outcome,late_updates,bytes_down," +
        "bytes_up,host_seconds,qemu_cpu_seconds,model_sha256,nic_bytes_in,nic_bytes_out," +
        "nic_frames_in,nic_frames_out,segments_down,segments_up,retransmissions_down," +
        "retransmissions_up,drops\n",
    );
    await this.#append(
      "clients.csv",
      "round,client,board,outcome,samples,train_loss,train_accuracy,host_seconds," +
        "device_clock_seconds,bytes_down,bytes_up,link_seconds_down,link_seconds_up,detail\n",
    );
    await this.#append(
      "devices.csv",
      "after_round,device,client,board,boot_host_seconds,ready_host_seconds\n" +
        devices.map((device) => `0,${device},${device},${BOARD},0.1,0.2\n`).join(""),
    );
    await this.#append(
      "events.jsonl",
      devices
        .map(
          (device) =>
            `{"host_seconds":0.1,"event":"device-boot","device":${device},"text":"board ${BOARD}"}\n` +
            `{"host_seconds":0.2,"event":"device-ready","device":${device},"text":"60 samples"}\n`,
        )
        .join(""),
    );
    for (const device of devices) await writeFile(this.#console(device), "@zfl ready samples=60\n");
  }

  /** Plays so many rounds more. Consoles grow if `isLoud`. */
  async play(count, isLoud) {
    let [rounds, clients, events] = ["", "", ""];
    const heard = new Map();
    for (const end = this.round + count; this.round < end; ) {
      this.round += 1;
      const { round } = this;
      const first = Math.floor(this.#draw() * this.#devices);
      const selected = [...Array(this.#selected).keys()]
        .map((index) => (first + index * 7) % this.#devices)
        .sort((one, other) => one - other);
      const began = this.#host;
      events += `{"host_seconds":${began.toFixed(6)},"event":"round-started","round":${round},"clients":[${selected}]}\n`;
      let used = 0;
      selected.forEach((client, index) => {
        const took = 0.2 + 0.3 * this.#draw();
        const outcome = this.#draw() < 0.02 ? "late" : "ok";
        const detail = outcome === "ok" ? "" : "no update within 500 ms";
        if (outcome === "ok") used += 1;
        this.#host = began + 0.5 * ((index + 1) / selected.length);
        events += `{"host_seconds":${this.#host.toFixed(6)},"event":"client-finished","client":${client},"detail":"${detail}","outcome":"${outcome}","round":${round}}\n`;
        clients += `${round},${client},${BOARD},${outcome},60,0.5,0.8,${took.toFixed(6)},${(took / 2).toFixed(6)},4952,4940,0.01,0.02,${detail}\n`;
        heard.set(client, `@zfl training round=${round}\n@zfl reported round=${round}\n`);
      });
      const accuracy = 1 - 0.9 / (1 + round / 50) + 0.01 * this.#draw();
      events += `{"host_seconds":${this.#host.toFixed(6)},"event":"round-completed","round":${round},"accuracy":${accuracy},"loss":${1 - accuracy}}\n`;
      const bytes = 4952 * selected.length;
      rounds += `${round},${accuracy},${1 - accuracy},${selected.length},${used},0,completed,0,${bytes},${bytes},0.5,1.5,${"ab".repeat(32)},${bytes + 900},${bytes + 800},220,210,200,190,${Math.floor(4 * this.#draw())},${Math.floor(3 * this.#draw())},0\n`;
    }
    await this.#append("clients.csv", clients);
    await this.#append("events.jsonl", events);
    await this.#append("rounds.csv", rounds);
    if (isLoud) {
      for (const [client, text] of heard) await appendFile(this.#console(client), text);
    }
  }
}
