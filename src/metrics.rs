//! `[run] metrics`: the run for Prometheus. docs/metrics.md lists the names.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use pipeline_engine::{Handle, Live, LiveStage, Snapshot};

use crate::view::{Shared, Story};

/// A request is at most so long, and comes within so much time.
const MOST_BYTES: u64 = 8 << 10;
const PATIENCE: Duration = Duration::from_secs(5);

/// `[run] metrics` as an address: `9090` is a port of this machine alone.
///
/// # Errors
/// What is wrong with it, in words.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((IpAddr::V4(Ipv4Addr::LOCALHOST), port).into());
    }
    text.parse().map_err(|_| {
        format!("run.metrics = \"{text}\" is no address; write \"127.0.0.1:9090\", or \"0.0.0.0:9090\" to be read from other machines")
    })
}

/// Answers `GET /metrics` from now on, as long as the program runs.
///
/// # Errors
/// When the address is taken.
pub fn serve(address: SocketAddr, handle: Handle, story: Shared) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    std::thread::Builder::new().name("metrics".into()).spawn(move || {
        // One after the other: a scrape takes no time, and who is slow is cut off.
        for stream in listener.incoming() {
            let answered = stream.and_then(|stream| answer(stream, &handle, &story));
            if let Err(error) = answered {
                tracing::debug!("a reader of the metrics went away: {error}");
            }
        }
    })?;
    Ok(bound)
}

fn answer(mut stream: TcpStream, handle: &Handle, story: &Shared) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut lines = BufReader::new(stream.try_clone()?.take(MOST_BYTES)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.strip_prefix("GET ").and_then(|rest| rest.split([' ', '?']).next());
    let (status, body) = match path {
        Some("/metrics") => {
            let story = story.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            ("200 OK", page(&handle.look(), &story))
        }
        Some(_) => ("404 Not Found", "the metrics are at /metrics\n".to_owned()),
        None => ("405 Method Not Allowed", "only GET\n".to_owned()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    stream.flush()
}

/// One metric of a stage: name, type, help, value.
type StageMetric = (&'static str, &'static str, &'static str, fn(&LiveStage, &Snapshot) -> f64);

const STAGE: &[StageMetric] = &[
    ("items_total", "counter", "Items that left the stage in this epoch.", |_, now| now.items as f64),
    ("bytes_total", "counter", "Bytes that left the stage in this epoch.", |_, now| now.bytes as f64),
    ("busy_seconds_total", "counter", "Seconds its workers worked in this epoch.", |_, now| now.busy_s),
    ("wait_input_seconds_total", "counter", "Seconds its workers waited for input.", |_, now| now.wait_in_s),
    ("wait_room_seconds_total", "counter", "Seconds its workers waited for room.", |_, now| now.wait_out_s),
    ("workers", "gauge", "Threads that do its work.", |_, now| now.workers as f64),
    ("queued_items", "gauge", "Items that wait in the edge behind it.", |stage, now| {
        now.queued.min(stage.capacity as u64) as f64
    }),
    ("queue_capacity_items", "gauge", "Items that fit in the edge behind it.", |stage, _| stage.capacity as f64),
];

/// The text that Prometheus reads.
fn page(live: &Live, story: &Story) -> String {
    let mut text = String::new();
    let head = |text: &mut String, name: &str, kind: &str, help: &str| {
        let _ = write!(text, "# HELP pipeline_{name} {help}\n# TYPE pipeline_{name} {kind}\n");
    };
    let version = env!("CARGO_PKG_VERSION");
    head(&mut text, "info", "gauge", "The run.");
    let _ = writeln!(text, "pipeline_info{{version=\"{version}\",run=\"{}\"}} 1", escape(&story.name));
    let plain: [(&str, &str, f64); 6] = [
        ("epoch", "The epoch that runs, from 1; 0 before the first.", live.epoch.into()),
        ("epochs", "Epochs in all.", live.epochs.into()),
        ("epoch_steps", "Steps of this epoch that are done.", live.steps.0 as f64),
        ("elapsed_seconds", "Since the run began.", live.elapsed.as_secs_f64()),
        ("measuring", "1 while something is measured.", f64::from(u8::from(live.measuring.is_some()))),
        ("skipped_samples", "Samples skipped up to the last epoch.", live.skipped as f64),
    ];
    for (name, help, value) in plain {
        head(&mut text, name, "gauge", help);
        let _ = writeln!(text, "pipeline_{name} {value}");
    }
    for (name, value) in &live.gauges {
        head(&mut text, &format!("step_{name}"), "gauge", "As the newest training step gave it.");
        let _ = writeln!(text, "pipeline_step_{name} {value}");
    }
    for (name, kind, help, value) in STAGE {
        head(&mut text, &format!("stage_{name}"), kind, help);
        for (place, stage) in live.stages.iter().enumerate() {
            if let Some(now) = &stage.now {
                let (kind, value) = (escape(&stage.kind), value(stage, now));
                let _ = writeln!(text, "pipeline_stage_{name}{{stage=\"{kind}\",place=\"{place}\"}} {value}");
            }
        }
    }
    if !story.newest.is_empty() {
        head(&mut text, "score", "gauge", "The newest measurements, as in results.jsonl.");
        for m in &story.newest {
            let (eval, metric, part) = (escape(&m.eval), escape(&m.metric), escape(&m.part));
            let _ = writeln!(text, "pipeline_score{{eval=\"{eval}\",metric=\"{metric}\",part=\"{part}\"}} {}", m.value);
        }
    }
    text
}

/// A label's value.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn only_this_machine_unless_told_otherwise() {
        assert!(address("9090").unwrap().ip().is_loopback());
        assert_eq!(address("0.0.0.0:9100").unwrap().to_string(), "0.0.0.0:9100");
        assert_eq!(address("[::1]:9100").unwrap().port(), 9100);
        assert!(address("localhost").unwrap_err().contains("run.metrics"));
    }

    #[test]
    fn metrics_are_read_over_http() {
        let story = Shared::default();
        story.lock().unwrap().name = "a \"run\"".into();
        let bound = serve(address("0").unwrap(), Handle::default(), story).unwrap();
        let text = ask(bound, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(text.contains("run=\"a \\\"run\\\"\"} 1\n") && text.contains("\npipeline_epoch 0\n"), "{text}");
        // Every line is a comment, or a name and a number.
        let body = text.split("\r\n\r\n").nth(1).unwrap();
        for line in body.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("pipeline_") && value.parse::<f64>().is_ok(), "{line}");
        }
        assert!(ask(bound, "GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
        assert!(ask(bound, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
        // Who sends nothing that ends is cut off, and the next one is heard.
        let mut endless = TcpStream::connect(bound).unwrap();
        let _ = endless.write_all("x".repeat(MOST_BYTES as usize * 2).as_bytes());
        assert!(ask(bound, "GET /metrics HTTP/1.1\r\n\r\n").contains("200 OK"));
    }
}
