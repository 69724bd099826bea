// SPDX-License-Identifier: BSD-2-Clause
//! A static Rust program: threads, channels, memory churn, time, files, and a caught panic. Prints nothing and
//! exits 0 when all is well; with an argument it exits with that status.

use std::io::{Read, Write};
use std::sync::{mpsc, Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

fn churn(seed: u64) -> u64 {
    let mut random = seed | 1;
    let mut live: Vec<Vec<u64>> = Vec::new();
    let mut sum = 0u64;
    for i in 0..4000u64 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let len = (random % 5000) as usize + 1;
        let zeroed = vec![0u64; len];
        assert!(zeroed.iter().all(|&w| w == 0), "fresh memory is not zero");
        let mut block = zeroed;
        block[0] = i;
        block[len - 1] = i;
        if live.len() < 64 {
            live.push(block);
        } else {
            let slot = (random >> 32) as usize % 64;
            let old = std::mem::replace(&mut live[slot], block);
            assert_eq!(old[0], old[old.len() - 1], "a block changed");
            sum = sum.wrapping_add(old[0]);
        }
        if i % 500 == 0 {
            let big = vec![7u8; 8 << 20]; // goes by mmap and comes back by munmap
            assert!(big.iter().step_by(4096).all(|&b| b == 7));
        }
    }
    sum
}

fn channels() {
    let (sender, receiver) = mpsc::channel::<u64>();
    let senders: Vec<_> = (0..8)
        .map(|n| {
            let sender = sender.clone();
            thread::spawn(move || (0..1000).for_each(|v| sender.send(n * 1000 + v).unwrap()))
        })
        .collect();
    drop(sender);
    let total: u64 = receiver.iter().sum();
    senders.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(total, (0..8000u64).sum());
}

fn condition() {
    let pair = Arc::new((Mutex::new(0u32), Condvar::new()));
    let threads: Vec<_> = (0..4)
        .map(|me| {
            let pair = pair.clone();
            thread::spawn(move || {
                for _ in 0..100 {
                    let mut turn = pair.0.lock().unwrap();
                    while *turn % 4 != me {
                        turn = pair.1.wait(turn).unwrap();
                    }
                    *turn += 1;
                    pair.1.notify_all();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(*pair.0.lock().unwrap(), 400);
}

fn time() {
    let start = Instant::now();
    thread::sleep(Duration::from_millis(15));
    assert!(start.elapsed() >= Duration::from_millis(15));
    let (_sender, receiver) = mpsc::channel::<()>();
    let start = Instant::now();
    assert!(receiver.recv_timeout(Duration::from_millis(10)).is_err());
    assert!(start.elapsed() >= Duration::from_millis(10));
}

fn files() {
    let path = std::env::temp_dir().join("lethe-rust");
    std::fs::File::create(&path).unwrap().write_all(b"some data").unwrap();
    let mut text = String::new();
    std::fs::File::open(&path).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "some data");
    std::fs::remove_file(&path).unwrap();
}

fn main() {
    if let Some(status) = std::env::args().nth(1) {
        std::process::exit(status.parse().unwrap());
    }
    let threads: Vec<_> = (0..6).map(|n| thread::spawn(move || churn(n * 77 + 5))).collect();
    threads.into_iter().for_each(|t| {
        t.join().unwrap();
    });
    channels();
    condition();
    time();
    files();
    std::panic::set_hook(Box::new(|_| {}));
    assert!(thread::spawn(|| panic!("as asked")).join().is_err());
}
