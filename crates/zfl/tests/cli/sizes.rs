//! `zfl size`: what it prints, and that it is what devices measure.

use insta::assert_snapshot;
use serde_json::Value;

use crate::support::{Place, Row, SMALL, finish};

/// A firmware image without contents: 1000 bytes of code, 24 of initial
/// values, 600 of other statics.
fn image() -> Vec<u8> {
    let mut bytes = Vec::from(*b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x28\0\x01\0\0\0");
    bytes.resize(32, 0);
    bytes.extend(u32::to_le_bytes(52));
    bytes.resize(46, 0);
    // Sections: 40 bytes each, 4 of them.
    bytes.extend([40, 0, 4, 0, 0, 0]);
    bytes.resize(52 + 40, 0);
    // PROGBITS or NOBITS; ALLOC with WRITE or EXECINSTR.
    for (kind, flags, len) in [(1, 6, 1000), (1, 3, 24), (8, 3, 600)] {
        for word in [0, kind, flags, 0, 0, len, 0, 0, 4, 0] {
            bytes.extend(u32::to_le_bytes(word));
        }
    }
    bytes
}

/// [`SMALL`] with a native client more.
fn small_place() -> Place {
    let place = Place::new();
    let native = "\n[[fleet]]\nfidelity = \"native\"\ncount = 1\n";
    place.write("experiment.toml", format!("{SMALL}{native}"));
    place.write("firmware/mps2-an386.elf", image());
    place
}

#[test]
fn a_table_for_people() {
    let place = small_place();
    let shown = finish(place.size(&["--firmware-dir", "firmware"])).succeeded();
    assert_snapshot!(shown, @r#"
    small: 5 clients, 1210 parameters (f32)

    bytes                            mps2-an386  native
    fleet
      clients                                 4       1
      samples of the largest share          288     287
    client's arena
      training samples                    18432   18368
      labels                                288     287
      batch order                           576     574
      weights                              4840    4840
      gradients                             680     680
      activations and error signals         680     680
      optimiser state                         0       0
      alignment                               0       3
      needed                              25496   25432
      available                        16777088       -
    RAM
      stack, reserved                     24576       -
      network buffers and statics           624       -
      needed                              25200       -
      available                         4194304       -
    flash
      needed                               1024       -
      available                         4194304       -

    mps2-an386: fits
    native: fits; each client takes this of the host's memory

    a round: 5 clients, start 4952 bytes each, update 4952 bytes each;
             24760 bytes down, 24760 bytes up (messages with headers, without HTTP and TCP/IP)
    "#);
}

#[test]
fn what_does_not_fit_is_counted() {
    let place = small_place();
    let command = place.size(&[
        "--firmware-dir",
        "firmware",
        "--set",
        "model.mlp.hidden=[60000]",
    ]);
    let finished = finish(command);
    let verdicts: Vec<&str> = finished
        .stdout
        .lines()
        .filter(|line| line.contains("fit"))
        .collect();
    assert_snapshot!(verdicts.join("\n"), @r#"
    mps2-an386: does not fit: 6042328 bytes too many in its arena
    native: fits; each client takes this of the host's memory
    "#);
    assert_snapshot!(finished.failed(1), @"error: small does not fit mps2-an386");
}

#[test]
fn json_for_scripts() {
    let place = small_place();
    let shown = finish(place.size(&["--json", "--firmware-dir", "firmware"])).succeeded();
    assert_snapshot!(shown, @r#"
    {
      "name": "small",
      "clients": 5,
      "parameters": 1210,
      "parameters_trained": 1210,
      "format": "f32",
      "boards": [
        {
          "board": "mps2-an386",
          "fidelity": "emulated",
          "clients": 4,
          "samples": 288,
          "arena": {
            "samples_bytes": 18432,
            "labels_bytes": 288,
            "batch_order_bytes": 576,
            "weights_bytes": 4840,
            "gradients_bytes": 680,
            "activations_bytes": 680,
            "optimiser_bytes": 0,
            "alignment_bytes": 0,
            "needed_bytes": 25496,
            "available_bytes": 16777088
          },
          "ram": {
            "stack_bytes": 24576,
            "statics_bytes": 624,
            "needed_bytes": 25200,
            "available_bytes": 4194304
          },
          "flash": {
            "needed_bytes": 1024,
            "available_bytes": 4194304
          },
          "fits": true
        },
        {
          "board": "native",
          "fidelity": "native",
          "clients": 1,
          "samples": 287,
          "arena": {
            "samples_bytes": 18368,
            "labels_bytes": 287,
            "batch_order_bytes": 574,
            "weights_bytes": 4840,
            "gradients_bytes": 680,
            "activations_bytes": 680,
            "optimiser_bytes": 0,
            "alignment_bytes": 3,
            "needed_bytes": 25432,
            "available_bytes": null
          },
          "ram": null,
          "flash": null,
          "fits": true
        }
      ],
      "round": {
        "clients": 5,
        "start_bytes": 4952,
        "start_again_bytes": 4952,
        "update_bytes": 4952,
        "down_bytes": 24760,
        "up_bytes": 24760
      },
      "fits": true
    }
    "#);
}

/// What cannot be said has another exit code than what does not fit.
#[test]
fn mistakes() {
    let place = small_place();
    let said = |sets: &str| finish(place.size(&["--set", sets])).failed(2);
    assert_snapshot!(said("fleet=[]"), @"error: no clients: give their number, at least 1");
    assert_snapshot!(said("partition.iid.samples-per-client=70000"), @r#"
     x --set partition.iid.samples-per-client=70000: `partition.iid.samples-per-client` is 70000
      ,-[--set:1:34]
    1 | partition.iid.samples-per-client=70000
      :                                  ^^^^^
      `----
     help: `partition.iid.samples-per-client`: a whole number from 1 to 65535
    "#);
    place.write("firmware/mps2-an386.elf", "\x7fELF");
    let said = finish(place.size(&["--firmware-dir", "firmware"])).failed(2);
    assert_snapshot!(said, @"error: firmware of board mps2-an386: Invalid ELF header size or alignment");
}

fn number(row: &Row, column: &str) -> u64 {
    row[column].parse().unwrap()
}

/// Runs an experiment and compares what its devices measured with what
/// `zfl size` had said.
#[track_caller]
fn check(experiment: &str) {
    let place = Place::new();
    place.write("experiment.toml", experiment);
    let shown = finish(place.size(&["--json"])).succeeded();
    let size: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(size["fits"], true);
    let board = &size["boards"][0];
    let arena = &board["arena"]["needed_bytes"];
    let records = place.completed_run("out", &["rounds=1"]);
    let clients = records.clients();
    assert_eq!(clients.len() as u64, board["clients"].as_u64().unwrap());
    // Shares differ by a sample at most; what was said is of the largest.
    let largest = clients.iter().map(|row| number(row, "samples")).max();
    assert_eq!(board["samples"], largest.unwrap());
    for row in &clients {
        let measured = number(row, "arena_peak_bytes");
        if Some(number(row, "samples")) == largest {
            assert_eq!(*arena, measured, "{row:?}");
        } else {
            assert!(arena.as_u64() > Some(measured), "{row:?}");
        }
        assert_eq!(size["round"]["start_bytes"], number(row, "bytes_down"));
        assert_eq!(size["round"]["update_bytes"], number(row, "bytes_up"));
        let stack = board["ram"]["stack_bytes"].as_u64();
        assert!(stack > Some(number(row, "stack_peak_bytes")), "{row:?}");
    }
    let ram = &board["ram"];
    assert!(ram["statics_bytes"].as_u64() > Some(20_000), "{ram}");
    let flash = &board["flash"];
    assert!(flash["needed_bytes"].as_u64() > Some(100_000), "{flash}");
}

#[test]
fn devices_measure_what_was_said_of_a_perceptron() {
    check(&SMALL.replace("count = 4", "count = 2"));
}

#[test]
fn devices_measure_what_was_said_of_a_convolution() {
    let cnn = "[model.cnn]\nlayers = [{ conv = { filters = 4, kernel = 3, stride = 2 } }, \
               { max-pool = { size = 2 } }]";
    let experiment = SMALL
        .replace("[model.mlp]\nhidden = [16]", cnn)
        .replace("learning-rate = 0.2", "learning-rate = 0.1\nmomentum = 0.9")
        .replace("count = 4", "count = 3");
    check(&experiment);
}
