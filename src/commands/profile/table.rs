//! A profile as text.

use std::fmt::Write;

use pipeline_engine::StageProfile;

use super::advice::Advice;
use super::forecast::{Forecast, Limit};
use super::measure::{Measured, Together};

/// The whole profile. `load` is that of other programs before the measurements.
pub fn all(measured: &Measured, advice: &[Advice], load: Option<f64>) -> String {
    let (first, cores) = (&measured.first, measured.cores);
    let mut text = stages(&measured.alone, &first.expected);
    together(&mut text, &format!("an epoch from `{}`", first.from), first, cores);
    if let Some(later) = &measured.later {
        together(&mut text, &format!("later epochs, from `{}`'s cache", later.from), later, cores);
    }
    text.push_str("\nwhat to change\n");
    for advice in advice {
        let _ = writeln!(text, "  {}", advice.text);
        if let Some(set) = &advice.set {
            let _ = writeln!(text, "    --set {set}");
        }
        if let Some(tried) = &advice.tried {
            let _ = writeln!(text, "    tried: {}", verdict(tried));
        }
    }
    if let Some(load) = load {
        let _ = writeln!(
            text,
            "\nother programs were running (load {load:.1} on {cores} cores): expect more on an idle machine"
        );
    }
    text
}

/// A rate: `12.3/s`, `123/s`, `12.3k/s`, `123 000/s`.
pub fn per_s(rate: f64) -> String {
    match rate {
        r if r >= 99_500.0 => format!("{:.0} 000/s", r / 1000.0),
        r if r >= 9_950.0 => format!("{:.1}k/s", r / 1000.0),
        r if r >= 100.0 => format!("{r:.0}/s"),
        r => format!("{r:.1}/s"),
    }
}

fn stages(alone: &[StageProfile], expected: &Option<Forecast>) -> String {
    let mut text = String::from("each stage alone, fed from memory, in samples per second\n");
    let _ = writeln!(
        text,
        "  {:<10} {:>7} {:>12} {:>15} {:>9}",
        "stage", "workers", "ceiling", "CPU per sample", "ran for"
    );
    for stage in alone {
        let limits = expected.as_ref().is_some_and(|e| e.limit == Limit::Stage(stage.kind.clone()));
        let cpu = stage.cpu_per_sample().map_or("-".into(), |cpu| format!("{:.3} ms", cpu * 1e3));
        let _ = writeln!(
            text,
            "  {:<10} {:>7} {:>12} {:>15} {:>7.2} s{}",
            stage.kind,
            stage.workers,
            per_s(stage.ceiling()),
            cpu,
            stage.seconds,
            if limits { "  ← lowest" } else { "" }
        );
    }
    text
}

fn together(text: &mut String, what: &str, together: &Together, cores: usize) {
    let _ = writeln!(text, "\n{what}");
    if let Some(expected) = &together.expected {
        let why = match &expected.limit {
            Limit::Stage(kind) => format!("`{kind}` is the limit"),
            Limit::Cores => format!("the {cores} cores, which all stages share, are the limit"),
        };
        let _ = writeln!(text, "  expected {}: {why}", per_s(expected.samples_per_s));
    }
    let _ = writeln!(text, "  {}", verdict(together));
}

/// How the measurement compares with the forecast.
fn verdict(together: &Together) -> String {
    let Some(measured) = together.measured else {
        return format!("not measured: {}", together.unmeasured.as_deref().unwrap_or("it was too short"));
    };
    let Some(expected) = &together.expected else { return format!("measured {}", per_s(measured)) };
    let off = 100.0 * (measured / expected.samples_per_s - 1.0);
    match off {
        off if off.abs() < 1.0 => format!("measured {}, as expected", per_s(measured)),
        _ if off < -25.0 => format!(
            "measured {}, {:.0} % less than expected: the stages slow each other down more than CPU time shows, or other \
             programs were running",
            per_s(measured),
            -off
        ),
        _ if off > 25.0 => format!(
            "measured {}, {off:.0} % more than expected: another program used the cores while the stages ran alone",
            per_s(measured)
        ),
        _ if off < 0.0 => format!("measured {}, {:.0} % less", per_s(measured), -off),
        _ => format!("measured {}, {off:.0} % more", per_s(measured)),
    }
}
