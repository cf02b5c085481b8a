//! `zfl data show --partition`: the pictures of docs/partitions.md, and refusals.

use std::path::Path;

use crate::support::{Place, finish};

const DOCUMENT: &str = include_str!("../../../../docs/partitions.md");

/// Each picture is what the command below it draws. After a change, run those
/// commands in the project's folder.
#[test]
fn the_pictures_of_the_document_are_drawn() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let place = Place::new();
    let commands = DOCUMENT
        .lines()
        .filter_map(|line| line.strip_prefix("zfl ")?.split_once(" --svg docs/images/"));
    let mut count = 0;
    for (arguments, name) in commands {
        let drawn = place.path(name);
        let mut command = place.zfl(arguments.split(' '));
        command.current_dir(&project).arg("--svg").arg(&drawn);
        let said = finish(command).succeeded();
        assert!(said.contains("picture in "), "{said}");
        let drawn = std::fs::read_to_string(drawn).unwrap();
        let kept = std::fs::read_to_string(project.join("docs/images").join(name)).unwrap();
        assert!(drawn == kept, "docs/images/{name} is another picture");
        assert!(DOCUMENT.contains(&format!("](images/{name})")), "{name}");
        count += 1;
    }
    assert_eq!(count, DOCUMENT.matches("](images/").count());
}

#[test]
fn a_partition_is_drawn_in_the_terminal() {
    let place = Place::new();
    let show = |arguments: &[&str]| {
        let first = ["data", "show"];
        finish(place.zfl(first.into_iter().chain(arguments.iter().copied())))
    };
    let dealt = ["--clients", "10", "--partition", "dirichlet,alpha=0.3"];
    let said = show(&[["digits"].as_slice(), &dealt].concat()).succeeded();
    // What the document shows.
    let (_, shown) = DOCUMENT.split_once("```text\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    assert!(said.contains(shown), "{said}");

    // An experiment is shown as it is shared out, and changes are those.
    let said = show(&["experiment.toml"]).succeeded();
    assert!(said.contains("\n3      "), "{said}");
    assert!(!said.contains("\n4      "), "{said}");
    let said = show(&[["experiment.toml"].as_slice(), &dealt].concat()).succeeded();
    assert!(said.contains(shown), "{said}");
}

#[test]
fn a_partition_that_makes_no_sense_is_refused() {
    let place = Place::new();
    let refused = |arguments: &[&str], code| {
        let first = ["data", "show", "digits"];
        finish(place.zfl(first.into_iter().chain(arguments.iter().copied()))).failed(code)
    };
    let said = refused(&["--partition", "iid"], 2);
    assert!(said.contains("say so with --clients"), "{said}");
    let said = refused(&["--svg", "x.svg"], 2);
    assert!(said.contains("say so with --clients"), "{said}");
    assert!(!place.path("x.svg").exists());
    let said = refused(&["--clients", "3", "--partition", "dirchlet"], 2);
    assert!(said.contains("did you mean `dirichlet`?"), "{said}");
    let said = refused(&["--clients", "3", "--partition", "shards,per=1"], 2);
    assert!(said.contains("--partition:2:1"), "{said}");
    let said = refused(&["--clients", "3", "--partition", "natural"], 1);
    assert!(
        said.contains("does not say who its samples belong to"),
        "{said}"
    );
    let said = refused(&["--clients", "2000"], 1);
    assert!(said.contains("2000 clients for 1438 samples"), "{said}");
    let said = refused(&["--clients", "3", "--svg", "no/such/folder/x.svg"], 1);
    assert!(
        said.contains("failed to write no/such/folder/x.svg"),
        "{said}"
    );
}
