// RUN: %gradcam_opt %s --fuse-epilogues | FileCheck %s

#vector = affine_map<(d0) -> (d0)>
#row = affine_map<(d0, d1) -> (d0, d1)>
#sum = affine_map<(d0, d1) -> (d0)>

// The shift and the maximum become one op; it does not move into the sum that reads it.
// CHECK-LABEL: func.func @chain
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "parallel"]} ins(%{{.*}}, %{{.*}} : tensor<4x8xi32>, tensor<4x8xi32>)
// CHECK: arith.addi
// CHECK: arith.maxsi
// CHECK-NEXT: linalg.yield
// CHECK: linalg.generic {{.*}} iterator_types = ["parallel", "reduction"]}
// CHECK: arith.addi
// CHECK-NEXT: linalg.yield
func.func @chain(%x: tensor<4x8xi32>, %y: tensor<4x8xi32>, %zero: tensor<4xi32>) -> tensor<4xi32> {
  %e = tensor.empty() : tensor<4x8xi32>
  %0 = linalg.generic {indexing_maps = [#row, #row, #row], iterator_types = ["parallel", "parallel"]}
      ins(%x, %y : tensor<4x8xi32>, tensor<4x8xi32>) outs(%e : tensor<4x8xi32>) {
  ^bb0(%a: i32, %b: i32, %o: i32):
    %s = arith.addi %a, %b : i32
    linalg.yield %s : i32
  } -> tensor<4x8xi32>
  %1 = linalg.generic {indexing_maps = [#row, #row], iterator_types = ["parallel", "parallel"]}
      ins(%0 : tensor<4x8xi32>) outs(%e : tensor<4x8xi32>) {
  ^bb0(%a: i32, %o: i32):
    %c = arith.constant 0 : i32
    %s = arith.maxsi %a, %c : i32
    linalg.yield %s : i32
  } -> tensor<4x8xi32>
  %2 = linalg.generic {indexing_maps = [#row, #sum], iterator_types = ["parallel", "reduction"]}
      ins(%1 : tensor<4x8xi32>) outs(%zero : tensor<4xi32>) {
  ^bb0(%a: i32, %o: i32):
    %s = arith.addi %o, %a : i32
    linalg.yield %s : i32
  } -> tensor<4xi32>
  return %2 : tensor<4xi32>
}

// A value with another reader is computed once: its only elementwise reader joins it, and both are results.
// CHECK-LABEL: func.func @shared
// CHECK: %[[R:.+]]:2 = linalg.generic {{.*}} ins(%{{.*}} : tensor<4xi32>) outs(%{{.*}}, %{{.*}} : tensor<4xi32>, tensor<4xi32>)
// CHECK: %[[S:.+]] = arith.addi
// CHECK-NEXT: %[[P:.+]] = arith.muli %[[S]], %[[S]]
// CHECK-NEXT: linalg.yield %[[S]], %[[P]]
// CHECK-NOT: linalg.generic
// CHECK: return %[[R]]#0, %[[R]]#1
func.func @shared(%x: tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>) {
  %e = tensor.empty() : tensor<4xi32>
  %0 = linalg.generic {indexing_maps = [#vector, #vector], iterator_types = ["parallel"]}
      ins(%x : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%a: i32, %o: i32):
    %s = arith.addi %a, %a : i32
    linalg.yield %s : i32
  } -> tensor<4xi32>
  %1 = linalg.generic {indexing_maps = [#vector, #vector], iterator_types = ["parallel"]}
      ins(%0 : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%a: i32, %o: i32):
    %s = arith.muli %a, %a : i32
    linalg.yield %s : i32
  } -> tensor<4xi32>
  return %0, %1 : tensor<4xi32>, tensor<4xi32>
}

// A consumer may have several results, such as a value and its mask: its producer fuses just the same. The two results
// go no further: the selection stays an op of its own.
// CHECK-LABEL: func.func @mask
// CHECK: %[[R:.+]]:2 = linalg.generic {{.*}} ins(%{{.*}}, %{{.*}} : tensor<4x8xi32>, tensor<8xi32>) outs(%{{.*}}, %{{.*}} : tensor<4x8xi8>, tensor<4x8xi1>)
// CHECK: arith.addi
// CHECK: arith.trunci
// CHECK: arith.cmpi
// CHECK-NEXT: linalg.yield %{{.*}}, %{{.*}} : i8, i1
// CHECK: linalg.generic {{.*}} ins(%{{.*}}, %[[R]]#1 : tensor<4x8xi32>, tensor<4x8xi1>)
// CHECK-NEXT: ^bb0
// CHECK-NEXT: arith.select
// CHECK: return %[[R]]#0
#lane = affine_map<(d0, d1) -> (d1)>
func.func @mask(%x: tensor<4x8xi32>, %bias: tensor<8xi32>) -> (tensor<4x8xi8>, tensor<4x8xi32>) {
  %e = tensor.empty() : tensor<4x8xi32>
  %e8 = tensor.empty() : tensor<4x8xi8>
  %e1 = tensor.empty() : tensor<4x8xi1>
  %0 = linalg.generic {indexing_maps = [#row, #lane, #row], iterator_types = ["parallel", "parallel"]}
      ins(%x, %bias : tensor<4x8xi32>, tensor<8xi32>) outs(%e : tensor<4x8xi32>) {
  ^bb0(%a: i32, %b: i32, %o: i32):
    %s = arith.addi %a, %b : i32
    linalg.yield %s : i32
  } -> tensor<4x8xi32>
  %1:2 = linalg.generic {indexing_maps = [#row, #row, #row], iterator_types = ["parallel", "parallel"]}
      ins(%0 : tensor<4x8xi32>) outs(%e8, %e1 : tensor<4x8xi8>, tensor<4x8xi1>) {
  ^bb0(%a: i32, %o: i8, %p: i1):
    %c = arith.constant 0 : i32
    %t = arith.trunci %a : i32 to i8
    %k = arith.cmpi sgt, %a, %c : i32
    linalg.yield %t, %k : i8, i1
  } -> (tensor<4x8xi8>, tensor<4x8xi1>)
  %2 = linalg.generic {indexing_maps = [#row, #row, #row], iterator_types = ["parallel", "parallel"]}
      ins(%x, %1#1 : tensor<4x8xi32>, tensor<4x8xi1>) outs(%e : tensor<4x8xi32>) {
  ^bb0(%a: i32, %k: i1, %o: i32):
    %s = arith.select %k, %a, %a : i32
    linalg.yield %s : i32
  } -> tensor<4x8xi32>
  return %1#0, %2 : tensor<4x8xi8>, tensor<4x8xi32>
}

// Two readers of one value that read constants beside it both join, in a chain with a third one; what reads another
// tensor, too, does not.
// CHECK-LABEL: func.func @joined
// CHECK: %[[R:.+]]:3 = linalg.generic
// CHECK: arith.addi
// CHECK: arith.muli
// CHECK: arith.subi
// CHECK-NEXT: linalg.yield
// CHECK: linalg.generic {{.*}} ins(%[[R]]#0, %{{.*}} : tensor<4xi32>, tensor<4xi32>)
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @joined(%x: tensor<4xi32>, %z: tensor<4xi32>)
    -> (tensor<4xi32>, tensor<4xi32>, tensor<4xi32>, tensor<4xi32>) {
  %e = tensor.empty() : tensor<4xi32>
  %0 = linalg.generic {indexing_maps = [#vector, #vector], iterator_types = ["parallel"]}
      ins(%x : tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%a: i32, %o: i32):
    %s = arith.addi %a, %a : i32
    linalg.yield %s : i32
  } -> tensor<4xi32>
  %m = arith.constant dense<[1, 2, 3, 4]> : tensor<4xi32>
  %1 = linalg.generic {indexing_maps = [#vector, #vector, #vector], iterator_types = ["parallel"]}
      ins(%0, %m : tensor<4xi32>, tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%a: i32, %b: i32, %o: i32):
    %s = arith.muli %a, %b : i32
    linalg.yield %s : i32
  } -> tensor<4xi32>
  %2 = linalg.generic {indexing_maps = [#vector, #vector, #vector], iterator_types = ["parallel"]}
      ins(%1, %m : tensor<4xi32>, tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%a: i32, %b: i32, %o: i32):
    %s = arith.subi %a, %b : i32
    linalg.yield %s : i32
  } -> tensor<4xi32>
  %3 = linalg.generic {indexing_maps = [#vector, #vector, #vector], iterator_types = ["parallel"]}
      ins(%0, %z : tensor<4xi32>, tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%a: i32, %b: i32, %o: i32):
    %s = arith.xori %a, %b : i32
    linalg.yield %s : i32
  } -> tensor<4xi32>
  return %0, %1, %2, %3 : tensor<4xi32>, tensor<4xi32>, tensor<4xi32>, tensor<4xi32>
}

// A constant that an op before the producer reads stays before that op.
// CHECK-LABEL: func.func @early
// CHECK: arith.constant dense
// CHECK: linalg.generic
// CHECK: %{{.*}}:2 = linalg.generic
// CHECK: return
func.func @early(%x: tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>, tensor<4xi32>) {
  %e = tensor.empty() : tensor<4xi32>
  %m = arith.constant dense<[1, 2, 3, 4]> : tensor<4xi32>
  %0 = linalg.generic {indexing_maps = [#vector, #vector, #vector], iterator_types = ["parallel"]}
      ins(%x, %m : tensor<4xi32>, tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%a: i32, %b: i32, %o: i32):
    %s = arith.addi %a, %b : i32
    linalg.yield %s : i32
  } -> tensor<4xi32>
  %1 = linalg.generic {indexing_maps = [#vector, #vector, #vector], iterator_types = ["parallel"]}
      ins(%0, %x : tensor<4xi32>, tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%a: i32, %b: i32, %o: i32):
    %s = arith.subi %a, %b : i32
    linalg.yield %s : i32
  } -> tensor<4xi32>
  %2 = linalg.generic {indexing_maps = [#vector, #vector, #vector], iterator_types = ["parallel"]}
      ins(%1, %m : tensor<4xi32>, tensor<4xi32>) outs(%e : tensor<4xi32>) {
  ^bb0(%a: i32, %b: i32, %o: i32):
    %s = arith.muli %a, %b : i32
    linalg.yield %s : i32
  } -> tensor<4xi32>
  return %0, %1, %2 : tensor<4xi32>, tensor<4xi32>, tensor<4xi32>
}

// So does the table that a joined op looks up; it is read by name.
// CHECK-LABEL: func.func @table
// CHECK: %[[T:.+]] = arith.constant dense
// CHECK: %{{.*}}:2 = linalg.generic
// CHECK: tensor.extract %[[T]]
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @table(%x: tensor<4xindex>) -> (tensor<4xindex>, tensor<4xi32>) {
  %e = tensor.empty() : tensor<4xindex>
  %f = tensor.empty() : tensor<4xi32>
  %0 = linalg.generic {indexing_maps = [#vector, #vector], iterator_types = ["parallel"]}
      ins(%x : tensor<4xindex>) outs(%e : tensor<4xindex>) {
  ^bb0(%a: index, %o: index):
    %s = arith.addi %a, %a : index
    linalg.yield %s : index
  } -> tensor<4xindex>
  %t = arith.constant dense<[1, 2, 3, 4]> : tensor<4xi32>
  %1 = linalg.generic {indexing_maps = [#vector, #vector], iterator_types = ["parallel"]}
      ins(%0 : tensor<4xindex>) outs(%f : tensor<4xi32>) {
  ^bb0(%a: index, %o: i32):
    %s = tensor.extract %t[%a] : tensor<4xi32>
    linalg.yield %s : i32
  } -> tensor<4xi32>
  return %0, %1 : tensor<4xindex>, tensor<4xi32>
}
