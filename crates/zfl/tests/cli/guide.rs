//! A stranger's path: docs/from-csv-to-fleet.md is followed to the letter, in a folder that
//! holds a table of readings and nothing else.

use std::fs;

use crate::support::{Place, Records, blocks, finish, shell};

const DOCUMENT: &str = include_str!("../../../../docs/from-csv-to-fleet.md");
const READINGS: &str = include_str!("../../../../examples/sensors/sensors.csv");
/// What the document promises; ten are the most that a stranger should need.
const COMMANDS: usize = 8;

#[test]
fn from_a_table_to_a_confirmed_fleet() {
    let place = Place::new();
    // Not the folder itself, which has an experiment already.
    place.write("motors/sensors.csv", READINGS);
    let folder = place.path("motors");
    let (mut files, mut commands, mut shown) = (0, 0, 0);
    let mut said = String::new();
    for (before, language, block) in blocks(DOCUMENT) {
        match language {
            "toml" => {
                let (_, name) = before.rsplit_once("Save this as `").unwrap();
                let (name, _) = name.split_once('`').unwrap();
                fs::write(folder.join(name), block).unwrap();
                files += 1;
            }
            "sh" => {
                commands += block.lines().count();
                said = finish(shell(block, &folder)).succeeded();
            }
            // Parts of what the command above it says.
            "text" => {
                for line in block.lines() {
                    assert!(said.contains(line), "`{line}` is not in:\n{said}");
                    shown += 1;
                }
            }
            other => panic!("a block of `{other}`"),
        }
    }
    assert_eq!(files, 2);
    assert!(shown > 10, "{shown}");
    assert!(DOCUMENT.contains("Eight commands later"));
    assert_eq!(commands, COMMANDS);

    let search = Records::new(&folder.join("runs/search-001"));
    let front = search.table("front.csv");
    assert!(!front.is_empty());
    let summary = search.summary();
    assert_eq!(summary["outcome"], "completed");
    let confirmed = summary["confirmed"].as_array().unwrap();
    assert_eq!(confirmed.len(), 2);
    for one in confirmed {
        assert_eq!(one["outcome"], "completed", "{one}");
        assert_eq!(one["is_identical"], true, "{one}");
        let run = search.folder.join(one["folder"].as_str().unwrap());
        let devices = Records::new(&run).table("devices.csv");
        assert_eq!(devices.len(), 12);
        assert!(devices.iter().all(|row| row["board"] == "mps2-an386"));
    }
    // The best, as it was written down, is the confirmed run once more.
    let best = Records::new(&folder.join("runs/motors-002"));
    assert_eq!(confirmed[0]["emulated"]["model_sha256"], best.final_hash());
    // What the guide calls the first point of the front is that.
    let frugal = Records::new(&folder.join("runs/frugal"));
    assert_eq!(frugal.table("devices.csv").len(), 12);
    let accuracy = |text: &str| text.parse::<f64>().unwrap();
    assert_eq!(
        frugal
            .round_column("accuracy")
            .pop()
            .as_deref()
            .map(accuracy),
        Some(accuracy(&front[0]["accuracy"]))
    );
}
