//! `[run] metrics`: serves the state of the run to Prometheus. docs/metrics.md lists the names.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::anyhow;
use pipeline_engine::{Handle, Live, LiveStage, Snapshot};

use crate::status::{SharedStatus, Status};

/// Limits of a request: bytes, and time to arrive.
const MOST_BYTES: u64 = 8 << 10;
const TIMEOUT: Duration = Duration::from_secs(5);

/// Reads `[run] metrics` as an address. A port alone, `9090`, is reachable from this machine only.
///
/// # Errors
/// A text that is neither a port nor an address with a port.
pub fn address(text: &str) -> anyhow::Result<SocketAddr> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((IpAddr::V4(Ipv4Addr::LOCALHOST), port).into());
    }
    text.parse().map_err(|_| {
        anyhow!(
            "run.metrics = \"{text}\" is not an address; write \"127.0.0.1:9090\", or \"0.0.0.0:9090\" to let other machines read it"
        )
    })
}

/// Answers `GET /metrics` until the program ends.
///
/// # Errors
/// The address cannot be bound, usually because another program uses it.
pub fn serve(address: SocketAddr, handle: Handle, status: SharedStatus) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    let bound = listener.local_addr()?;
    std::thread::Builder::new().name("metrics".into()).spawn(move || {
        // One connection at a time: an answer takes well under a millisecond, and slow clients run into the timeout.
        for stream in listener.incoming() {
            let answered = stream.and_then(|stream| answer(stream, &handle, &status));
            if let Err(error) = answered {
                tracing::debug!("a client of the metrics page disconnected: {error}");
            }
        }
    })?;
    Ok(bound)
}

fn answer(mut stream: TcpStream, handle: &Handle, status: &SharedStatus) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut lines = BufReader::new(stream.try_clone()?.take(MOST_BYTES)).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.strip_prefix("GET ").and_then(|rest| rest.split([' ', '?']).next());
    let (code, body) = match path {
        Some("/metrics") => {
            let status = status.lock();
            ("200 OK", page(&handle.look(), &status))
        }
        Some(_) => ("404 Not Found", "the metrics are at /metrics\n".to_owned()),
        None => ("405 Method Not Allowed", "only GET\n".to_owned()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {code}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
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
    ("queued_items", "gauge", "Items waiting in the edge after it.", |stage, now| {
        now.queued.min(stage.capacity as u64) as f64
    }),
    ("queue_capacity_items", "gauge", "Items that fit in the edge after it.", |stage, _| stage.capacity as f64),
];

/// The text that Prometheus reads.
fn page(live: &Live, status: &Status) -> String {
    let mut text = String::new();
    let head = |text: &mut String, name: &str, kind: &str, help: &str| {
        let _ = write!(text, "# HELP pipeline_{name} {help}\n# TYPE pipeline_{name} {kind}\n");
    };
    let version = env!("CARGO_PKG_VERSION");
    head(&mut text, "info", "gauge", "The run.");
    let _ = writeln!(text, "pipeline_info{{version=\"{version}\",run=\"{}\"}} 1", escape(&status.name));
    let plain: [(&str, &str, f64); 6] = [
        ("epoch", "The current epoch, counted from 1; 0 before the first.", live.epoch.into()),
        ("epochs", "Number of epochs.", live.epochs.into()),
        ("epoch_steps", "Finished steps of this epoch.", live.steps.0 as f64),
        ("elapsed_seconds", "Seconds since the run began.", live.elapsed.as_secs_f64()),
        ("measuring", "1 while an eval measures, else 0.", f64::from(u8::from(live.measuring.is_some()))),
        ("skipped_samples", "Samples skipped in the finished epochs.", live.skipped as f64),
    ];
    for (name, help, value) in plain {
        head(&mut text, name, "gauge", help);
        let _ = writeln!(text, "pipeline_{name} {value}");
    }
    for (name, value) in &live.gauges {
        head(&mut text, &format!("step_{name}"), "gauge", "Value of the newest training step.");
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
    if !status.newest.is_empty() {
        head(&mut text, "score", "gauge", "The newest measurements, as in results.jsonl.");
        for m in &status.newest {
            let (eval, metric, part) = (escape(&m.eval), escape(&m.metric), escape(&m.part));
            let _ = writeln!(text, "pipeline_score{{eval=\"{eval}\",metric=\"{metric}\",part=\"{part}\"}} {}", m.value);
        }
    }
    text
}

/// Escapes the value of a label.
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
    fn a_port_alone_is_local() {
        assert!(address("9090").unwrap().ip().is_loopback());
        assert_eq!(address("0.0.0.0:9100").unwrap().to_string(), "0.0.0.0:9100");
        assert_eq!(address("[::1]:9100").unwrap().port(), 9100);
        assert!(address("localhost").unwrap_err().to_string().contains("run.metrics"));
    }

    #[test]
    fn metrics_are_read_over_http() {
        let status = SharedStatus::default();
        status.lock().name = "a \"run\"".into();
        let bound = serve(address("0").unwrap(), Handle::default(), status).unwrap();
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
        // A request without an end is cut off, and the next client is served.
        let mut endless = TcpStream::connect(bound).unwrap();
        let _ = endless.write_all("x".repeat(MOST_BYTES as usize * 2).as_bytes());
        assert!(ask(bound, "GET /metrics HTTP/1.1\r\n\r\n").contains("200 OK"));
    }
}
