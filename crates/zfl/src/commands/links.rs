//! `zfl links`: what can lie between a device and the coordinator.

use serde_json::{Map, Value, json};
use zfl_machine::LinkProfile;
use zfl_machine::catalogue::CatalogueError;
use zfl_machine::catalogue::Figure;

use super::{Done, Failure};
use crate::arguments::LinksArguments;

/// `zfl links`
pub(crate) fn links(arguments: &LinksArguments) -> Done {
    if let Some(name) = &arguments.name {
        let link = LinkProfile::named(name).map_err(|error| match error {
            CatalogueError::Unknown { .. } => Failure::Usage(error.to_string()),
            _ => Failure::run(&error),
        })?;
        return match arguments.json {
            true => say_json(&as_json(&link)),
            false => {
                show(&link);
                Ok(())
            }
        };
    }
    let links = LinkProfile::all()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Failure::run(&error))?;
    if arguments.json {
        return say_json(&links.iter().map(as_json).collect());
    }
    say!(
        "{:<11} {:>8} {:>9} {:>8} {:>9} {:>7} {:>12} {:>10}  description",
        "link",
        "up kbps",
        "down kbps",
        "delay ms",
        "jitter ms",
        "loss",
        "queue bytes",
        "MTU bytes"
    );
    for link in &links {
        say!(
            "{:<11} {:>8} {:>9} {:>8} {:>9} {:>7} {:>12} {:>10}  {}",
            link.name,
            rate(&link.rate_up_kbps),
            rate(&link.rate_down_kbps),
            marked(&link.delay_ms),
            marked(&link.jitter_ms),
            marked(&link.loss),
            marked(&link.queue_bytes),
            marked(&link.mtu_bytes),
            link.description
        );
    }
    say!(
        "\n`fleet.*.link` of an experiment chooses one; a table [link.NAME] makes another.\n\
         `zfl links NAME` has the sources. ? marks what nobody has looked up: docs/links.md."
    );
    Ok(())
}

fn marked(figure: &Figure) -> String {
    let mark = if figure.is_verified { "" } else { "?" };
    format!("{}{mark}", figure.value)
}

/// A rate, of which 0 is none.
fn rate(figure: &Figure) -> String {
    match figure.value > 0.0 {
        true => marked(figure),
        false => "no limit".to_owned(),
    }
}

/// Every figure of one link, with its source.
fn show(link: &LinkProfile) {
    say!("{}: {}\n", link.name, link.description);
    for (key, figure) in link.figures() {
        say!("{key:<15} {:>8}  {}", marked(figure), figure.source);
    }
    say!("\n? marks what nobody has looked up; rates of 0 are without limit. docs/links.md");
}

fn as_json(link: &LinkProfile) -> Value {
    let figures: Map<String, Value> = link
        .figures()
        .into_iter()
        .map(|(key, figure)| {
            let value = json!({
                "value": figure.value,
                "source": figure.source,
                "unverified": !figure.is_verified,
            });
            (key.replace('-', "_"), value)
        })
        .collect();
    json!({ "name": link.name, "description": link.description, "figures": figures })
}

fn say_json(value: &Value) -> Done {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::Run(format!("failed to write JSON: {error}")))?;
    say!("{text}");
    Ok(())
}
