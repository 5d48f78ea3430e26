;; A plugin in the plain: the least that the world asks of a core module. The tests put a crime into `run`.
(module
  (;IMPORTS;)
  (memory (export "memory") 1)
  (table $functions 1 funcref)
  (data (i32.const 0) "plain0.1.0A plugin in the plain.")
  ;; The manifest at 64: three texts by address and length, and no schema.
  (data (i32.const 64) "\00\00\00\00\05\00\00\00\05\00\00\00\05\00\00\00\0a\00\00\00\16\00\00\00\00\00\00\00")
  (func (export "describe") (result i32) (i32.const 64))
  ;; An empty list at 128.
  (func (export "check")
    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
    (i32.const 128))
  ;; An outcome at 192, done, with the plugin's name as its summary, if the crime comes to an end.
  (data (i32.const 196) "\00\00\00\00\05\00\00\00")
  (func (export "run") (param i32) (result i32)
    (;CRIME;)
    (i32.const 192))
  (global $free (mut i32) (i32.const 1024))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
    (global.set $free (i32.add (local.get $at) (local.get 3)))
    (local.get $at)))
