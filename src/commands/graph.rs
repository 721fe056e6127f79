//! `pipeline graph`

use std::fmt::Write;

use clap::{Args, ValueEnum};
use pipeline_engine::{Plan, StageView};

use super::{ConfigArguments, Context, Failure};
use crate::print;

/// Show the stages of a config and the items between them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pipeline graph pipeline.toml
  pipeline graph --format svg > pipeline.svg
  pipeline graph --format dot | dot -Tpng > pipeline.png")]
pub struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,
    /// Output format.
    #[arg(long, short, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// For a terminal.
    Text,
    /// For Graphviz.
    Dot,
    /// A picture.
    Svg,
}

impl Arguments {
    pub fn run(&self, context: &Context) -> Result<(), Failure> {
        let drawing = Drawing::of(&self.config.plan(&context.registry)?, context);
        print::stdout(&match self.format {
            Format::Text => drawing.text(),
            Format::Dot => drawing.dot(),
            Format::Svg => drawing.svg(),
        });
        Ok(())
    }
}

/// The content of all three formats.
struct Drawing {
    stages: Vec<Node>,
    /// The evals: name and kind, and when they measure.
    evals: Vec<(String, String)>,
}

struct Node {
    kind: &'static str,
    about: &'static str,
    /// Number of workers, if the stage has the option.
    workers: Option<String>,
    /// The items that leave it, and how many may wait.
    edge: Option<(&'static str, usize)>,
}

/// The number of workers, an option of the stage or of a part of it.
fn workers(stage: &StageView<'_>) -> Option<String> {
    let parts = stage.parts.iter().flat_map(|(_, options)| options);
    stage.options.iter().chain(parts).find(|(name, _)| *name == "workers").map(|(_, value)| value.clone())
}

impl Drawing {
    fn of(plan: &Plan, context: &Context) -> Self {
        let about = |kind: &str| context.registry.stages().find(|k| k.name == kind).map_or("", |k| k.about);
        let stages = plan.stages().map(|stage| Node {
            kind: stage.kind,
            about: about(stage.kind),
            workers: workers(&stage),
            edge: stage.output.map(|output| (output, stage.capacity)),
        });
        let evals = plan.evals().map(|eval| {
            let when = match eval.every {
                0 => "before and after".to_owned(),
                1 => "before and after each epoch".to_owned(),
                n => format!("before, after every {n} epochs, after"),
            };
            (format!("{} ({})", eval.name, eval.kind), when)
        });
        Self { stages: stages.collect(), evals: evals.collect() }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for node in &self.stages {
            let workers = match node.workers.as_deref() {
                // 0: the stage chooses, so the config does not show the number.
                None | Some("0" | "1") => String::new(),
                Some(n) => format!(" ({n} workers)"),
            };
            let _ = writeln!(text, "{:<10} {}{workers}", node.kind, node.about);
            if let Some((item, room)) = node.edge {
                let _ = writeln!(text, "  │ {item}, at most {room} waiting");
            }
        }
        for (name, when) in &self.evals {
            let _ = writeln!(text, "  ? {name}, {when}");
        }
        text
    }

    fn dot(&self) -> String {
        let mut text = String::from(
            "digraph pipeline {\n  rankdir = LR\n  node [shape = box, style = rounded, fontname = \"sans-serif\"]\n  \
             edge [fontname = \"sans-serif\", fontsize = 10]\n",
        );
        for node in &self.stages {
            let _ = writeln!(text, "  {:?} [tooltip = {:?}]", node.kind, node.about);
        }
        for (from, to) in self.stages.iter().zip(self.stages.iter().skip(1)) {
            let Some((item, room)) = from.edge else { continue };
            let _ = writeln!(text, "  {:?} -> {:?} [label = \"{item}\\n(at most {room})\"]", from.kind, to.kind);
        }
        let last = self.stages.last().map_or("", |node| node.kind);
        for (name, when) in &self.evals {
            let _ = writeln!(
                text,
                "  {name:?} [style = dashed]\n  {last:?} -> {name:?} [style = dashed, label = {when:?}]"
            );
        }
        text.push_str("}\n");
        text
    }

    /// A column of boxes, with the items beside the arrows.
    fn svg(&self) -> String {
        const STEP: usize = 84;
        let height = self.stages.len() * STEP + self.evals.len() * 44 + 8;
        let mut text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 640 {height}\" width=\"640\" height=\"{height}\" \
             font-family=\"system-ui, sans-serif\" font-size=\"14\" role=\"img\" aria-label=\"{}\">\n\
             <style>rect{{fill:none;stroke:#2f6fab;stroke-width:1.5}}.n{{font-weight:600}}text{{fill:#1b1f24}}.s{{fill:#667;font-size:12px}}\
             path{{stroke:#667;stroke-width:1.5;fill:none}}.e{{stroke-dasharray:5 4}}\
             @media(prefers-color-scheme:dark){{text{{fill:#e8eaed}}.s{{fill:#9aa}}rect{{stroke:#6aa9e0}}path{{stroke:#9aa}}}}</style>\n",
            self.stages.iter().map(|node| node.kind).collect::<Vec<_>>().join(" to ")
        );
        let mut y = 4;
        for node in &self.stages {
            let _ = writeln!(
                text,
                "<rect x=\"4\" y=\"{y}\" width=\"632\" height=\"40\" rx=\"6\"/>\
                 <text class=\"n\" x=\"16\" y=\"{0}\">{1}</text><text class=\"s\" x=\"120\" y=\"{0}\">{2}</text>",
                y + 25,
                escape(node.kind),
                escape(node.about)
            );
            if let Some((item, room)) = node.edge {
                let (from, to) = (y + 40, y + STEP);
                let _ = writeln!(
                    text,
                    "<path d=\"M40 {from}V{to}m-5-8l5 8l5-8\"/>\
                     <text class=\"s\" x=\"56\" y=\"{}\">{}, at most {room} waiting</text>",
                    from + 26,
                    escape(item)
                );
            }
            y += STEP;
        }
        y = y.saturating_sub(STEP - 40);
        for (name, when) in &self.evals {
            let _ = writeln!(
                text,
                "<path class=\"e\" d=\"M40 {y}v10\"/><rect class=\"e\" x=\"4\" y=\"{}\" width=\"632\" height=\"30\" rx=\"6\"/>\
                 <text x=\"16\" y=\"{2}\">{1}</text><text class=\"s\" x=\"260\" y=\"{2}\">{3}</text>",
                y + 10,
                escape(name),
                y + 30,
                escape(when)
            );
            y += 44;
        }
        text.push_str("</svg>\n");
        text
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
