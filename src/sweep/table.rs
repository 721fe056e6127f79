//! The results of a sweep as one table.

use std::collections::BTreeMap;
use std::fmt::Write;

use items::metric;
use pipeline_engine::{Measurement, Phase};

use super::Planned;
use crate::text;

/// A finished run and its measurements.
pub struct Outcome {
    /// The run.
    pub run: Planned,
    /// All lines of its results.jsonl.
    pub results: Vec<Measurement>,
}

/// A measurement's name: eval, metric, part.
pub type Name = (String, String, String);

/// The results of the runs of one label in one measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The label.
    pub label: String,
    /// The measurement.
    pub name: Name,
    /// Per seed: the seed, the score before training and the score after it, from 0 to 1.
    pub seeds: Vec<(u64, Option<f64>, f64)>,
}

impl Row {
    /// The mean of the scores after training.
    pub fn mean(&self) -> f64 {
        self.seeds.iter().map(|(_, _, after)| after).sum::<f64>() / self.seeds.len().max(1) as f64
    }

    /// The mean of the scores before training; none if there are none.
    pub fn before(&self) -> Option<f64> {
        let before: Vec<f64> = self.seeds.iter().filter_map(|(_, before, _)| *before).collect();
        (!before.is_empty()).then(|| before.iter().sum::<f64>() / before.len() as f64)
    }

    /// The standard deviation over seeds; none for one seed.
    pub fn deviation(&self) -> Option<f64> {
        let n = self.seeds.len();
        let mean = self.mean();
        let squares: f64 = self.seeds.iter().map(|(_, _, after)| (after - mean).powi(2)).sum();
        (n > 1).then(|| (squares / (n - 1) as f64).sqrt())
    }
}

/// The last measurement of each name in a phase.
fn last(results: &[Measurement], phase: Phase) -> BTreeMap<Name, &Measurement> {
    let of = results.iter().filter(|m| m.phase == phase && m.eval != metric::TRAIN);
    of.map(|m| ((m.eval.clone(), m.metric.clone(), m.part.clone()), m)).collect()
}

/// True if a measurement is shown: those of `show`, or all accuracies and R@5.
fn shown(name: &Name, show: &[String]) -> bool {
    if show.is_empty() {
        return name.1 == "accuracy" || name.1.ends_with("_r@5");
    }
    show.iter().any(|wanted| {
        let words: Vec<&str> = wanted.split_whitespace().collect();
        words[0] == name.0 && words[1] == name.1 && words.get(2).is_none_or(|part| *part == name.2)
    })
}

/// One row per label and measurement, in the order of the runs.
pub fn rows(outcomes: &[Outcome], show: &[String]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for outcome in outcomes {
        let before = last(&outcome.results, Phase::Before);
        for (name, after) in last(&outcome.results, Phase::After) {
            if !shown(&name, show) {
                continue;
            }
            let seed = (outcome.run.seed, before.get(&name).map(|m| m.value), after.value);
            match rows.iter_mut().find(|row| row.label == outcome.run.label && row.name == name) {
                Some(row) => row.seeds.push(seed),
                None => rows.push(Row { label: outcome.run.label.clone(), name, seeds: vec![seed] }),
            }
        }
    }
    rows
}

/// The names of the rows' measurements, each once.
pub fn names(rows: &[Row]) -> Vec<Name> {
    let mut names: Vec<Name> = rows.iter().map(|row| row.name.clone()).collect();
    names.sort();
    names.dedup();
    names
}

/// The name of a measurement for people: `demo-mcq accuracy (negative)`.
pub fn title((eval, metric, part): &Name) -> String {
    text::measurement(eval, metric, part)
}

/// A table with a row per label and a column per measurement: mean and standard deviation over seeds, in percent.
pub fn markdown(rows: &[Row]) -> String {
    let names = names(rows);
    let mut labels: Vec<&str> = Vec::new();
    for row in rows {
        if !labels.contains(&row.label.as_str()) {
            labels.push(&row.label);
        }
    }
    let mut text = String::from("| run | seeds |");
    names.iter().for_each(|name| text += &format!(" {} |", title(name)));
    text += "\n|---|---|";
    names.iter().for_each(|_| text += "---|");
    text += "\n| before training | |";
    for name in &names {
        let before = rows.iter().filter(|row| row.name == *name).find_map(Row::before);
        let _ = write!(text, " {} |", before.map_or("–".to_owned(), |value| format!("{:.1}", 100.0 * value)));
    }
    for label in labels {
        let of = |name: &Name| rows.iter().find(|row| row.label == label && row.name == *name);
        let seeds = names.iter().filter_map(&of).map(|row| row.seeds.len()).max().unwrap_or(0);
        let _ = write!(text, "\n| {label} | {seeds} |");
        for name in &names {
            let cell = of(name).map_or("–".to_owned(), |row| match row.deviation() {
                Some(deviation) => format!("{:.1} ± {:.1}", 100.0 * row.mean(), 100.0 * deviation),
                None => format!("{:.1}", 100.0 * row.mean()),
            });
            let _ = write!(text, " {cell} |");
        }
    }
    text.push('\n');
    text
}

/// Every measurement of every run, one per line.
pub fn csv(outcomes: &[Outcome]) -> String {
    let quoted = |field: &str| format!("\"{}\"", field.replace('"', "\"\""));
    let mut text = String::from("run,seed,phase,epoch,eval,metric,part,value,low,high,n\n");
    for outcome in outcomes {
        for phase in [Phase::Before, Phase::After] {
            for ((eval, metric, part), m) in last(&outcome.results, phase) {
                let bound = |bound: Option<f64>| bound.map_or(String::new(), |value| value.to_string());
                let phase = if phase == Phase::Before { "before" } else { "after" };
                let _ = writeln!(
                    text,
                    "{},{},{phase},{},{},{},{},{},{},{},{}",
                    quoted(&outcome.run.label),
                    outcome.run.seed,
                    m.epoch,
                    quoted(&eval),
                    quoted(&metric),
                    quoted(&part),
                    m.value,
                    bound(m.low),
                    bound(m.high),
                    m.n
                );
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(label: &str, seed: u64, after: f64) -> Outcome {
        let measurement = |phase, value| Measurement {
            phase,
            epoch: 2,
            step: 9,
            eval: "q".into(),
            metric: "accuracy".into(),
            part: "all".into(),
            value,
            low: Some(0.1),
            high: None,
            n: 5,
        };
        let run = Planned { name: String::new(), label: label.into(), seed, presets: vec![], sets: vec![] };
        Outcome { run, results: vec![measurement(Phase::Before, 0.25), measurement(Phase::After, after)] }
    }

    #[test]
    fn seeds_become_a_mean_and_a_deviation() {
        let outcomes = [outcome("lr=1", 1, 0.4), outcome("lr=1", 2, 0.6), outcome("lr=2", 1, 0.3)];
        let rows = rows(&outcomes, &[]);
        assert_eq!(rows.len(), 2);
        let text = markdown(&rows);
        let want = [
            "| run | seeds | q accuracy |",
            "| before training | | 25.0 |",
            "| lr=1 | 2 | 50.0 ± 14.1 |",
            "| lr=2 | 1 | 30.0 |",
        ];
        want.iter().for_each(|line| assert!(text.contains(line), "{line} is not in\n{text}"));
        let text = csv(&outcomes);
        assert_eq!(text.lines().count(), 7);
        assert!(text.contains("\"lr=1\",2,after,2,\"q\",\"accuracy\",\"all\",0.6,0.1,,5"), "{text}");
        assert!(super::rows(&outcomes, &["q loss".to_owned()]).is_empty());
        assert_eq!(super::rows(&outcomes, &["q accuracy all".to_owned()]).len(), 2);
    }
}
