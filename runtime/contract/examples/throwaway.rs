//! x
use std::time::Instant;
use sortie_contract::Envelope;
fn main(){ let t=std::fs::read_to_string(std::env::args().nth(1).unwrap()).unwrap();
 for _ in 0..5 { let s=Instant::now(); for _ in 0..20000 { assert!(std::hint::black_box(Envelope::parse(std::hint::black_box(&t))).is_ok()); }
 println!("{} bytes: {:?}", t.len(), s.elapsed()/20000); } }
