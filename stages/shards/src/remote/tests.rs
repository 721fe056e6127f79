//! Against servers on this machine that break off, fail and stall.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

use tokio::io::AsyncReadExt;

use super::*;

/// One answer of the server: to a request with these head lines, these bytes;
/// then it hangs up.
type Answer = Box<dyn Fn(&[String]) -> Vec<u8> + Send>;

/// A server that gives these answers, one a connection, then refuses.
fn serve(answers: Vec<Answer>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/d/a%20b.tar", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            assert_eq!(head[0].split(' ').nth(1), Some("/d/a%20b.tar"));
            let _ = stream.write_all(&answer(&head));
        }
    });
    url.parse().unwrap()
}

fn answer(status: &str, headers: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

fn status(status: &'static str) -> Answer {
    Box::new(move |_| answer(status, "", 4, b"oops"))
}

const TAG: &str = "etag: \"v1\"\r\n";

/// `body` whole, but only its first `sent` bytes arrive.
fn part(body: &'static [u8], sent: usize) -> Answer {
    Box::new(move |_| answer("200 OK", TAG, body.len(), &body[..sent]))
}

/// The bytes from `from` on, of which only those before `until` arrive; the request must ask for them.
fn rest(body: &'static [u8], from: usize, until: usize, tag: &'static str) -> Answer {
    Box::new(move |head| {
        let (last, len) = (body.len() - 1, body.len());
        assert!(head.iter().any(|line| line.eq_ignore_ascii_case(&format!("range: bytes={from}-{last}"))), "{head:?}");
        let headers = format!("{tag}content-range: bytes {from}-{last}/{len}\r\n");
        answer("206 Partial Content", &headers, len - from, &body[from..until])
    })
}

fn stores() -> Stores {
    let (wait, silence) = (Duration::from_millis(1), Duration::from_secs(20));
    Stores::new(Patience { retries: 2, wait, silence })
}

/// What was read, and how it ended.
async fn get(url: &Url) -> (Vec<u8>, Result<(), String>) {
    let mut bytes = Vec::new();
    match stores().open(url).await {
        Ok((mut stream, _)) => {
            let end = stream.read_to_end(&mut bytes).await.map(drop).map_err(|error| error.to_string());
            (bytes, end)
        }
        Err(error) => (bytes, Err(error.to_string())),
    }
}

const BODY: &[u8] = b"0123456789";

#[tokio::test]
async fn reads_what_a_server_sends() {
    let url = serve(vec![part(BODY, 10)]);
    assert_eq!(get(&url).await, (BODY.to_vec(), Ok(())));
}

#[tokio::test]
async fn errors_name_the_url_and_the_status() {
    for code in ["404 Not Found", "403 Forbidden"] {
        let url = serve(vec![status(code)]);
        let (_, end) = get(&url).await;
        let error = end.unwrap_err();
        assert!(error.contains(url.as_str()) && error.contains(code), "{error}");
    }
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again_but_not_for_ever() {
    let trouble = || status("500 Internal Server Error");
    let url = serve(vec![trouble(), trouble(), part(BODY, 10)]);
    assert_eq!(get(&url).await, (BODY.to_vec(), Ok(())));
    let url = serve(vec![trouble(), trouble(), trouble()]);
    let error = get(&url).await.1.unwrap_err();
    assert!(error.contains(url.as_str()) && error.contains("500"), "{error}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_read_on_from_there() {
    let url = serve(vec![part(BODY, 4), rest(BODY, 4, 7, TAG), rest(BODY, 7, 10, TAG)]);
    assert_eq!(get(&url).await, (BODY.to_vec(), Ok(())));
}

#[tokio::test]
async fn a_body_that_keeps_breaking_off_is_an_error_after_what_came() {
    // Each try may be repeated by the client below as well: offer enough of them.
    let mut answers = vec![part(BODY, 4)];
    answers.extend((0..20).map(|_| rest(BODY, 4, 4, TAG)));
    let url = serve(answers);
    let (bytes, end) = get(&url).await;
    assert_eq!(bytes, b"0123");
    let error = end.unwrap_err();
    assert!(error.contains(url.as_str()) && error.contains("after 4 of 10 bytes"), "{error}");
}

#[tokio::test]
async fn an_object_that_changed_meanwhile_is_not_stitched_together() {
    let new = "etag: \"v2\"\r\n";
    let mut answers = vec![part(BODY, 4)];
    answers.extend((0..20).map(|_| rest(BODY, 4, 10, new)));
    let url = serve(answers);
    let (bytes, end) = get(&url).await;
    assert_eq!(bytes, b"0123");
    assert!(end.is_err());
}

/// A server that takes every connection, sends `sent` and is silent for good.
fn stall(sent: Vec<u8>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/d/a%20b.tar", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // An answer to a request that was not made yet would be no answer.
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let _ = stream.write_all(&sent);
            open.push(stream);
        }
    });
    url.parse().unwrap()
}

#[tokio::test]
async fn a_server_that_stalls_is_given_up_by_name() {
    for sent in [Vec::new(), answer("200 OK", TAG, BODY.len(), &BODY[..4])] {
        let url = stall(sent.clone());
        let (wait, silence) = (Duration::from_millis(1), Duration::from_millis(200));
        let stores = Stores::new(Patience { retries: 1, wait, silence });
        let mut bytes = Vec::new();
        let error = match stores.open(&url).await {
            Ok((mut stream, _)) => stream.read_to_end(&mut bytes).await.unwrap_err().to_string(),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(url.as_str()), "{error}");
        // What came before the silence is never taken for the whole.
        assert!(bytes.len() <= 4 && sent.is_empty() == bytes.is_empty(), "{bytes:?}");
    }
}

#[tokio::test]
async fn identity_is_tag_and_size() {
    let head: Answer = Box::new(|head| {
        assert!(head[0].starts_with("HEAD"));
        answer("200 OK", TAG, 10, b"")
    });
    let url = serve(vec![head]);
    assert_eq!(stores().identity(&url).await.unwrap(), "size=10 etag=\"v1\"");
    let url = serve(vec![status("404 Not Found")]);
    assert!(stores().identity(&url).await.unwrap_err().to_string().contains("404"));
}

#[test]
fn the_query_of_a_signed_url_is_kept_and_buckets_are_found() {
    let stores = Stores::default();
    let path = |url: &str| stores.locate(&url.parse().unwrap()).unwrap().1.to_string();
    assert_eq!(path("https://host/d/a.tar?sig=1"), "d/a.tar");
    assert_eq!(path("https://host/d/a.tar?sig=2"), "d/a.tar");
    assert_eq!(stores.by_host.lock().len(), 2);
    assert_eq!(path("s3://bucket/d/a.tar"), "d/a.tar");
}
