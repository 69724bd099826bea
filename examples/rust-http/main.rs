// SPDX-License-Identifier: BSD-2-Clause
// A web server in Rust with nothing but its standard library: a thread a connection, keep-alive, a counter for all.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread;

fn answer(stream: TcpStream, count: Arc<AtomicUsize>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                if name.eq_ignore_ascii_case("content-length") {
                    length = value.trim().parse().unwrap_or(0);
                }
            }
        }
        let mut body = Vec::new();
        reader.by_ref().take(length).read_to_end(&mut body)?;
        let number = count.fetch_add(1, Ordering::Relaxed) + 1;
        let path = request.split_whitespace().nth(1).unwrap_or("/");
        let text = format!("Hello from Rust: {path}, {} bytes, request {number}\n", body.len());
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
    }
}

fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("0.0.0.0:8080")?;
    let count = Arc::new(AtomicUsize::new(0));
    println!("listening on port 8080");
    for stream in listener.incoming() {
        let (stream, count) = (stream?, count.clone());
        thread::spawn(move || answer(stream, count));
    }
    Ok(())
}
