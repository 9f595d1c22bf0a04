#![allow(missing_docs, warnings)]
use millrace_calc::program::*; use millrace_calc::limits::Limits; use std::time::Instant; use millrace_calc::value::Value; use millrace_calc::book::*;
fn best(n: usize, mut f: impl FnMut()) -> f64 { let mut b=f64::MAX; for _ in 0..n { let t=Instant::now(); f(); b=b.min(t.elapsed().as_secs_f64()*1e9);} b }
fn main(){ 
 for f in ["B{p}+A2","B{p}*A2","B{p}/A2","MAX(B{p},A2)","IF(A2<=B{p},A2,B{p})","IF(B{p}<={n}*1000,B{p},0)","ROUND(B{p}*1.01,2)","ROUND(B{p},2)","ABS(-B{p})","SUM(B{p},A2,A1,A3,A2)", "A3^{n}", "SQRT(B{p}+2)","INT(B{p}+{n})","VLOOKUP(A4+{n},D1:E60,2,FALSE)"] {
 let mut s=Sheet{name:"S".into(),..Default::default()}; 
 for r in 0..60 { s.cells.insert((r,3), Cell{value:Value::Number(r as f64),formula:None}); s.cells.insert((r,4), Cell{value:Value::Number(r as f64*1.5),formula:None}); }
 s.cells.insert((0,1), Cell{value:Value::Blank,formula:Some("A1+A2".into())});
 for n in 1..200u32 { let f=f.replace("{p}",&n.to_string()).replace("{n}",&(n%50).to_string()); s.cells.insert((n,1), Cell{value:Value::Blank,formula:Some(f.clone())}); }
 let g = if f.contains("{p}") {"B200"} else {"SUM(B1:B200)"}; s.cells.insert((0,2), Cell{value:Value::Blank,formula:Some(g.into())});
 let b=Book{sheets:vec![s],..Default::default()}; let r=|a,c,d|Range{sheet:0,first_row:a,first_column:c,last_row:d,last_column:c};
 let p=Program::compile(&b,&[r(0,0,3)],&[r(0,2,0)],&Limits::default()).unwrap();
 let inputs: Vec<Column> = vec![Column::from_numbers((0..128).map(|i| 1.0+i as f64*0.37).collect()),Column::from_numbers((0..128).map(|i| 1.0+i as f64*0.00037).collect()),Column::from_numbers((0..128).map(|i| 1.0+i as f64*0.00001).collect()),Column::from_numbers((0..128).map(|i| 1.0+(i%10) as f64).collect())];
 let mut sc=Scratch::default(); let mut o=Vec::new(); let t=best(3000, || p.run(&inputs,128,&Volatile::default(),0,&mut sc,&mut o));
 println!("{f:40} {:5} instr {:7.1} ns/instr  {:7.1} ns/formula", p.report().instructions, t/p.report().instructions as f64, t/200.0); } }
