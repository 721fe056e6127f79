//! The results of a sweep: one row per setting, and above them what they must beat.

use std::collections::{BTreeMap, BTreeSet};
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

/// Measurements side by side in one table; with the run and its seeds, 12 columns still fit a page.
const COLUMNS: usize = 10;
/// Behind a score that is lower than before training.
const LOWER: &str = "▼";
/// The rank that is shown by default.
const SHOWN_RANK: usize = 5;

/// The results of the runs of one label in one measurement.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The label.
    pub label: String,
    /// The measurement.
    pub name: Name,
    /// Per seed: the seed, the score before training and the score after it, from 0 to 1.
    pub seeds: Vec<(u64, Option<f64>, f64)>,
    /// What the training-free answers of the starting tower score in the same measurement.
    pub free: Vec<(&'static str, f64)>,
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

    /// True if the mean is lower than before training, in the digits that are shown.
    fn is_lower(&self) -> bool {
        let shown = |score: f64| (1000.0 * score).round();
        self.before().is_some_and(|before| shown(self.mean()) < shown(before))
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

/// True if a measurement is shown: those of `show`, or all accuracies and R@5 of the tower itself.
fn shown(name: &Name, show: &[String]) -> bool {
    if show.is_empty() {
        let recalls = [metric::TEXT_TO_IMAGE, metric::IMAGE_TO_TEXT].map(|way| metric::recall(way, SHOWN_RANK));
        return name.1 == metric::ACCURACY || recalls.contains(&name.1);
    }
    show.iter().any(|wanted| {
        let words: Vec<&str> = wanted.split_whitespace().collect();
        words[0] == name.0 && words[1] == name.1 && words.get(2).is_none_or(|part| *part == name.2)
    })
}

/// One row per label and measurement, in the order of the runs and of their measurements.
pub fn rows(outcomes: &[Outcome], show: &[String]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for outcome in outcomes {
        let before = last(&outcome.results, Phase::Before);
        let after = last(&outcome.results, Phase::After);
        for name in order(&outcome.results).into_iter().filter(|name| shown(name, show)) {
            let Some(after) = after.get(&name) else { continue };
            let seed = (outcome.run.seed, before.get(&name).map(|m| m.value), after.value);
            match rows.iter_mut().find(|row| row.label == outcome.run.label && row.name == name) {
                Some(row) => row.seeds.push(seed),
                None => {
                    let (label, free) = (outcome.run.label.clone(), free(&before, &name));
                    rows.push(Row { label, name, seeds: vec![seed], free });
                }
            }
        }
    }
    rows
}

/// The names of measurements, each once, as the config orders its evals.
fn order(results: &[Measurement]) -> Vec<Name> {
    let mut seen = BTreeSet::new();
    let names = results.iter().map(|m| (m.eval.clone(), m.metric.clone(), m.part.clone()));
    names.filter(|name| seen.insert(name.clone())).collect()
}

/// What the training-free answers scored in a measurement before training.
fn free(before: &BTreeMap<Name, &Measurement>, (eval, metric, part): &Name) -> Vec<(&'static str, f64)> {
    let of = |baseline: &'static str| {
        let name = (eval.clone(), metric::of_baseline(baseline, metric), part.clone());
        Some((baseline, before.get(&name)?.value))
    };
    metric::BASELINES.into_iter().filter_map(of).collect()
}

/// The names of the rows' measurements, each once, in the order of the rows.
pub fn names(rows: &[Row]) -> Vec<Name> {
    let mut names: Vec<Name> = Vec::new();
    for row in rows {
        if !names.contains(&row.name) {
            names.push(row.name.clone());
        }
    }
    names
}

/// Names that share a table: whole evals while they fit, else the parts of one.
fn tables(names: &[Name]) -> Vec<Vec<&Name>> {
    let mut tables: Vec<Vec<&Name>> = Vec::new();
    for eval in names.chunk_by(|one, two| one.0 == two.0) {
        for columns in eval.chunks(COLUMNS) {
            match tables.last_mut().filter(|table| table.len() + columns.len() <= COLUMNS) {
                Some(table) => table.extend(columns),
                None => tables.push(columns.iter().collect()),
            }
        }
    }
    tables
}

/// The name of a measurement for people: `demo-mcq accuracy (negative)`.
pub fn title((eval, metric, part): &Name) -> String {
    text::measurement(eval, metric, part)
}

/// Tables with a row per label and a column per measurement: mean and standard deviation over seeds, in percent. The
/// first rows are what the starting tower scores, by itself and with training-free answers.
pub fn markdown(rows: &[Row]) -> String {
    let tables: Vec<String> = tables(&names(rows)).iter().map(|names| table(rows, names)).collect();
    let mut text = tables.join("\n");
    if rows.iter().any(Row::is_lower) {
        let _ = writeln!(text, "\n{LOWER} lower than before training");
    }
    text
}

/// One table, of the rows with these names.
fn table(rows: &[Row], names: &[&Name]) -> String {
    let mut text = String::from("| run | seeds |");
    names.iter().for_each(|name| text += &format!(" {} |", title(name)));
    text += "\n|---|---|";
    names.iter().for_each(|_| text += "---|");
    let start = |of: &dyn Fn(&Row) -> Option<f64>| -> Vec<Option<f64>> {
        names.iter().map(|name| rows.iter().filter(|row| row.name == **name).find_map(of)).collect()
    };
    text += &line("before training", "", &start(&Row::before).into_iter().map(percent).collect::<Vec<_>>());
    for baseline in metric::BASELINES {
        let scores = start(&|row: &Row| row.free.iter().find(|(name, _)| *name == baseline).map(|(_, score)| *score));
        if scores.iter().any(Option::is_some) {
            let name = if baseline == metric::TRAINING_FREE { "score" } else { baseline };
            text += &line(&format!("training-free: {name}"), "", &scores.into_iter().map(percent).collect::<Vec<_>>());
        }
    }
    let mut labels: Vec<&str> = Vec::new();
    for row in rows {
        if !labels.contains(&row.label.as_str()) {
            labels.push(&row.label);
        }
    }
    for label in labels {
        let of = |name: &Name| rows.iter().find(|row| row.label == label && row.name == *name);
        let seeds = names.iter().filter_map(|name| of(name)).map(|row| row.seeds.len()).max().unwrap_or(0);
        let cells: Vec<String> = names.iter().map(|name| of(name).map_or_else(|| percent(None), cell)).collect();
        text += &line(label, &seeds.to_string(), &cells);
    }
    text.push('\n');
    text
}

/// A line of a table, with the line break in front.
fn line(run: &str, seeds: &str, cells: &[String]) -> String {
    format!("\n| {run} | {seeds}{}| {} |", if seeds.is_empty() { "" } else { " " }, cells.join(" | "))
}

/// A score in percent.
fn percent(score: Option<f64>) -> String {
    score.map_or("–".to_owned(), |score| format!("{:.1}", 100.0 * score))
}

/// The mean of a row, its deviation, and a mark if it is lower than before training.
fn cell(row: &Row) -> String {
    let mut text = percent(Some(row.mean()));
    if let Some(deviation) = row.deviation() {
        let _ = write!(text, " ± {:.1}", 100.0 * deviation);
    }
    if row.is_lower() {
        let _ = write!(text, " {LOWER}");
    }
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

    fn measurement(phase: Phase, name: (&str, &str, &str), value: f64) -> Measurement {
        Measurement {
            phase,
            epoch: 2,
            step: 9,
            eval: name.0.into(),
            metric: name.1.into(),
            part: name.2.into(),
            value,
            low: Some(0.1),
            high: None,
            n: 5,
        }
    }

    fn outcome(label: &str, seed: u64, results: Vec<Measurement>) -> Outcome {
        let run = Planned { name: String::new(), label: label.into(), seed, presets: vec![], sets: vec![] };
        Outcome { run, results }
    }

    const ACCURACY: (&str, &str, &str) = ("q", metric::ACCURACY, metric::ALL);

    fn scored(label: &str, seed: u64, after: f64) -> Outcome {
        outcome(
            label,
            seed,
            vec![measurement(Phase::Before, ACCURACY, 0.25), measurement(Phase::After, ACCURACY, after)],
        )
    }

    #[test]
    fn seeds_become_a_mean_and_a_deviation() {
        let outcomes = [scored("lr=1", 1, 0.4), scored("lr=1", 2, 0.6), scored("lr=2", 1, 0.3)];
        let rows = rows(&outcomes, &[]);
        assert_eq!(rows.len(), 2);
        assert_eq!(
            markdown(&rows),
            "| run | seeds | q accuracy |\n|---|---|---|\n| before training | | 25.0 |\n| lr=1 | 2 | 50.0 ± 14.1 |\n\
             | lr=2 | 1 | 30.0 |\n"
        );
        let text = csv(&outcomes);
        assert_eq!(text.lines().count(), 7);
        assert!(text.contains("\"lr=1\",2,after,2,\"q\",\"accuracy\",\"all\",0.6,0.1,,5"), "{text}");
        assert!(super::rows(&outcomes, &["q loss".to_owned()]).is_empty());
        assert_eq!(super::rows(&outcomes, &["q accuracy all".to_owned()]).len(), 2);
    }

    #[test]
    fn what_became_lower_is_marked_with_a_line_that_says_so() {
        // 24.97 % is shown as 25.0, like the start.
        let rows = rows(&[scored("up", 1, 0.3), scored("even", 1, 0.2497), scored("down", 1, 0.2)], &[]);
        let text = markdown(&rows);
        for line in
            ["| up | 1 | 30.0 |", "| even | 1 | 25.0 |", "| down | 1 | 20.0 ▼ |", "▼ lower than before training"]
        {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn training_free_answers_are_rows_and_come_from_before_training() {
        let r5 = metric::recall(metric::TEXT_TO_IMAGE, 5);
        let [policy, old] = [metric::POLICY, metric::TRAINING_FREE].map(|name| metric::of_baseline(name, &r5));
        let of = |phase, metric: &str, value| measurement(phase, ("r", metric, metric::ALL), value);
        let results = vec![
            measurement(Phase::Before, ACCURACY, 0.25),
            of(Phase::Before, &r5, 0.3),
            of(Phase::Before, &old, 0.39),
            of(Phase::Before, &policy, 0.44),
            measurement(Phase::After, ACCURACY, 0.5),
            of(Phase::After, &r5, 0.41),
            of(Phase::After, &old, 0.1),
            of(Phase::After, &policy, 0.2),
        ];
        let rows = rows(&[outcome("base", 1, results)], &[]);
        assert_eq!(
            markdown(&rows),
            "| run | seeds | q accuracy | r text_to_image_r@5 |\n|---|---|---|---|\n| before training | | 25.0 | 30.0 |\n\
             | training-free: score | | – | 39.0 |\n| training-free: policy | | – | 44.0 |\n| base | 1 | 50.0 | 41.0 |\n"
        );
    }

    #[test]
    fn many_measurements_are_split_by_eval() {
        let parts: Vec<String> = (0..4).map(|part| part.to_string()).collect();
        let evals = ["c", "b", "a", "d"];
        let mut results = Vec::new();
        for eval in evals {
            for part in &parts {
                results.push(measurement(Phase::After, (eval, metric::ACCURACY, part), 0.5));
            }
        }
        let rows = rows(&[outcome("base", 1, results)], &[]);
        let text = markdown(&rows);
        let heads: Vec<&str> = text.lines().filter(|line| line.starts_with("| run")).collect();
        assert_eq!(heads.len(), 2, "{text}");
        assert!(heads[0].starts_with("| run | seeds | c accuracy (0)") && heads[0].ends_with("| b accuracy (3) |"));
        assert!(heads[1].starts_with("| run | seeds | a accuracy (0)") && heads[1].ends_with("| d accuracy (3) |"));
        let many: Vec<Name> = (0..13).map(|i| ("e".into(), metric::ACCURACY.into(), i.to_string())).collect();
        assert_eq!(tables(&many).iter().map(Vec::len).collect::<Vec<_>>(), [10, 3]);
    }
}
