#![allow(missing_docs, warnings)]
#[path="../benches/workloads/mod.rs"] mod workloads;
use millrace_calc::program::*; use millrace_calc::limits::Limits; use std::time::Instant; use millrace_calc::value::Value;
fn best(n: usize, mut f: impl FnMut()) -> f64 { let mut b=f64::MAX; for _ in 0..n { let t=Instant::now(); f(); b=b.min(t.elapsed().as_secs_f64()*1e6);} b }
fn main(){ for w in workloads::Workload::all().into_iter().filter(|w| std::env::args().nth(1).is_none_or(|a| a==w.name)) { let p=Program::compile(&w.book,&w.inputs,&w.outputs,&Limits::default()).unwrap();
 let inputs: Vec<Column> = w.fields.iter().map(|(_,v)| Column::from_values((0..BLOCK).map(v).collect())).collect();
 for (n, mut s) in [("simd", Scratch::default()), ("portable", Scratch::portable())] { let mut o=Vec::new();
 for rows in std::env::args().nth(2).map_or(vec![1,8,128], |a| vec![a.parse().unwrap()]) { let b=best(8000, || p.run(&inputs,rows,&Volatile::default(),0,&mut s,&mut o)); println!("{} {n} rows {rows}: {:.3} us/run {:.4} us/rec", w.name, b, b/rows as f64);} println!("scratch {}", s.bytes()); }
 if w.name=="w3" { let r=workloads::by_hand::Rates::new(); let recs: Vec<[f64;4]>=(0..BLOCK).map(|i| { let v=w.record(i); let g=|k:usize| match v[k] {Value::Number(x)=>x,_=>0.0}; [g(0),g(1),g(2),g(3)]}).collect(); let b=best(2000, || for [a,b,c,d] in &recs { std::hint::black_box(r.w3(*a,*b,*c,*d)); }); println!("w3 hand {:.4} us/rec", b/128.0);} } }
