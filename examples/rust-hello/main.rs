// SPDX-License-Identifier: BSD-2-Clause
// A Rust program: threads, channels and a map, as anybody writes it.
use std::collections::HashMap;
use std::sync::mpsc;
use std::thread;

fn main() {
    let text = "the river of forgetting forgets the name of the river";
    let (send, receive) = mpsc::channel();
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let send = send.clone();
            thread::spawn(move || {
                let words = text.split_whitespace().enumerate();
                for (_, word) in words.filter(|(i, _)| i % 4 == worker) {
                    send.send(word).expect("the receiver lives");
                }
            })
        })
        .collect();
    drop(send);
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for word in receive {
        *counts.entry(word).or_default() += 1;
    }
    for worker in workers {
        worker.join().expect("a worker panicked");
    }
    let mut sorted: Vec<_> = counts.into_iter().collect();
    sorted.sort();
    println!("Hello from Rust: {:?}", sorted);
}
