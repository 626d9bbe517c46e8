// On failure the IR before the failing pass (after cse, so with one add) and the command are written, and they fail alike.
// RUN: not %gradcam_opt %s --load-pass-plugin=%S/Inputs/test_passes.py --cse --test-fail --mlir-pass-pipeline-crash-reproducer=%t.repro.mlir 2>&1 | FileCheck %s
// RUN: FileCheck %s --check-prefix=REPRO --input-file=%t.repro.mlir
// RUN: not %gradcam_opt --run-reproducer %t.repro.mlir 2>&1 | FileCheck %s --check-prefix=AGAIN
// RUN: not %gradcam_opt --run-reproducer --load-pass-plugin=%S/Inputs/test_passes.py %t.repro.mlir 2>&1 | FileCheck %s --check-prefix=AGAIN
// RUN: not %gradcam_opt --run-reproducer %t.repro.mlir --cse 2>&1 | FileCheck %s --check-prefix=BOTH
// RUN: not %gradcam_opt %s --load-pass-plugin=%S/Inputs/test_passes.py --test-fail --allow-unregistered-dialect --verify-each=0 --mlir-disable-threading --mlir-pass-pipeline-crash-reproducer=%t.options.mlir 2> /dev/null
// RUN: FileCheck %s --check-prefix=OPTIONS --input-file=%t.options.mlir
// RUN: echo "// configuration: 'a" > %t.quote.mlir
// RUN: not %gradcam_opt --run-reproducer %t.quote.mlir 2>&1 | FileCheck %s --check-prefix=QUOTE
// RUN: echo "// configuration: --verify-each=0" > %t.empty.mlir
// RUN: not %gradcam_opt --run-reproducer %t.empty.mlir 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not %gradcam_opt --run-reproducer %s 2>&1 | FileCheck %s --check-prefix=NONE

// CHECK: reproducer.mlir:{{[0-9]+}}:1: error: does not like this [pass 'test-fail']
// CHECK-NEXT: repro.mlir:1:1: note: to see it again: gradcam-opt --run-reproducer {{.*}}.repro.mlir
// REPRO: // pass 'test-fail' failed on this module
// REPRO: // configuration: --load-pass-plugin={{/.*}}/Inputs/test_passes.py --pass-pipeline='builtin.module(test-fail{located=true})'
// REPRO: arith.addi
// REPRO-NOT: arith.addi
// AGAIN: error: does not like this [pass 'test-fail']
// BOTH: gradcam-opt: error: --run-reproducer runs the recorded pipeline; leave other passes out
// OPTIONS: --allow-unregistered-dialect --mlir-disable-threading --verify-each=0 --pass-pipeline=
// QUOTE: gradcam-opt: error: {{.*}}.quote.mlir: the '// configuration:' line cannot be read: No closing quotation
// EMPTY: gradcam-opt: error: {{.*}}.empty.mlir: the '// configuration:' line cannot be read: it has no --pass-pipeline
// NONE: gradcam-opt: error: {{.*}}reproducer.mlir is no reproducer
func.func @f(%a: i32) -> i32 {
  %0 = arith.addi %a, %a : i32
  %1 = arith.addi %a, %a : i32
  %2 = arith.muli %0, %1 : i32
  return %2 : i32
}
