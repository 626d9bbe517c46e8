// RUN: %gradcam_opt %s --gradcam-stream-inputs --split-input-file | FileCheck %s
// RUN: %gradcam_opt %s --gradcam-set-platform=pe=4x16 --gradcam-stream-inputs --gradcam-split-time-space --split-input-file | FileCheck %s --check-prefix=SPLIT

// Windows of four columns, two apart. A pixel of a window at x is stored in that window and in the one before it; the
// loop over both is inside, so that the pixels follow each other.
// CHECK-DAG: #[[PIXEL:.+]] = affine_set<(d0, d1) : (d0 * 2 + d1 - 3 >= 0, d0 * -2 - d1 + 10 >= 0)>
// CHECK-DAG: #[[WINDOW:.+]] = affine_set<(d0, d1) : (d0 - d1 >= 0, -d0 + d1 + 5 >= 0)>
// CHECK-LABEL: func.func @columns
// CHECK-SAME: %[[IMAGE:.+]]: memref<6x8x3xi8>
// The copy of the image is gone.
// CHECK-NOT: memref<6x8x16xi8>
// CHECK: %[[TO:.+]] = memref.alloc() : memref<6x6x16xi8>
// CHECK: affine.for %[[Y:.+]] = 0 to 6
// CHECK-NEXT: affine.for %[[U:.+]] = 0 to 7
// CHECK-NEXT: affine.for %[[R:.+]] = 0 to 2
// CHECK-NEXT: affine.for %[[J:.+]] = 0 to 2
// CHECK-NEXT: affine.for %[[C:.+]] = 0 to 3
// CHECK-NEXT: affine.if #[[PIXEL]](%[[U]], %[[R]]) -> i8
// CHECK-NEXT: affine.load %[[IMAGE]][%[[Y]], %[[U]] * 2 + %[[R]] - 3, %[[C]]]
// CHECK: affine.if #[[WINDOW]](%[[U]], %[[J]]) {
// CHECK-NEXT: affine.store %{{.+}}, %[[TO]][%[[Y]], %[[U]] - %[[J]], %[[J]] * 8 + %[[R]] * 4 + %[[C]]]
// The three channels are the lanes of a beat.
// SPLIT-LABEL: func.func @columns
// SPLIT: affine.for %{{.+}} = 0 to 2
// SPLIT: affine.parallel (%[[C:.+]]) = (0) to (3)
// SPLIT: affine.if #{{[a-z0-9]+}}(%{{[a-z0-9]+}}, %{{[a-z0-9]+}}) {
// SPLIT-NEXT: affine.store %{{.+}}[%{{.+}}, %{{.+}} - %{{.+}}, %{{.+}} * 8 + %{{.+}} * 4 + %[[C]]]
func.func @columns(%image: memref<6x8x3xi8>, %out: memref<6x6x16xi8>) {
  %c0_i8 = arith.constant 0 : i8
  %copy = memref.alloc() : memref<6x8x16xi8>
  affine.for %y = 0 to 6 {
    affine.for %x = 0 to 8 {
      affine.for %c = 0 to 3 {
        %v = affine.load %image[%y, %x, %c] : memref<6x8x3xi8>
        affine.store %v, %copy[%y, %x, %c] : memref<6x8x16xi8>
      }
    }
  }
  %to = memref.alloc() : memref<6x6x16xi8>
  affine.for %y = 0 to 6 {
    affine.for %x = 0 to 6 {
      affine.for %dy = 0 to 1 {
        affine.for %k = 0 to 4 {
          affine.for %c = 0 to 4 {
            %v = affine.if affine_set<(x, k) : (x * 2 + k - 3 >= 0, -x * 2 - k + 10 >= 0)>(%x, %k) -> i8 {
              %p = affine.load %copy[%y + %dy, %x * 2 + %k - 3, %c] : memref<6x8x16xi8>
              affine.yield %p : i8
            } else {
              affine.yield %c0_i8 : i8
            }
            affine.store %v, %to[%y, %x, %dy * 16 + %k * 4 + %c] : memref<6x6x16xi8>
          }
        }
      }
    }
  }
  affine.for %y = 0 to 6 {
    affine.for %x = 0 to 6 {
      affine.for %c = 0 to 16 {
        %v = affine.load %to[%y, %x, %c] : memref<6x6x16xi8>
        affine.store %v, %out[%y, %x, %c] : memref<6x6x16xi8>
      }
    }
  }
  return
}

// -----

// A window of three pixels in steps of four: the fourth pixel of each step is taken, and stored nowhere.
// CHECK: #[[USED:.+]] = affine_set<(d0) : (-d0 + 2 >= 0)>
// CHECK-LABEL: func.func @gaps
// CHECK: affine.for %[[U:.+]] = 0 to 2
// CHECK-NEXT: affine.for %[[R:.+]] = 0 to 4
// CHECK-NEXT: affine.for %[[C:.+]] = 0 to 1
// CHECK-NEXT: affine.load %{{.+}}[%[[U]] * 4 + %[[R]], %[[C]]]
// CHECK-NEXT: affine.if #[[USED]](%[[R]]) {
// CHECK-NEXT: affine.store %{{.+}}[%[[U]], %[[R]] + %[[C]]]
func.func @gaps(%image: memref<8x1xi8>, %out: memref<2x4xi8>) {
  %copy = memref.alloc() : memref<8x4xi8>
  affine.for %x = 0 to 8 {
    affine.for %c = 0 to 1 {
      %v = affine.load %image[%x, %c] : memref<8x1xi8>
      affine.store %v, %copy[%x, %c] : memref<8x4xi8>
    }
  }
  %to = memref.alloc() : memref<2x4xi8>
  affine.for %x = 0 to 2 {
    affine.for %k = 0 to 3 {
      affine.for %c = 0 to 1 {
        %v = affine.load %copy[%x * 4 + %k, %c] : memref<8x4xi8>
        affine.store %v, %to[%x, %k + %c] : memref<2x4xi8>
      }
    }
  }
  affine.for %x = 0 to 2 {
    affine.for %c = 0 to 4 {
      %v = affine.load %to[%x, %c] : memref<2x4xi8>
      affine.store %v, %out[%x, %c] : memref<2x4xi8>
    }
  }
  return
}

// -----

// Backwards: no order of loops follows the stream, and the copy stays.
// CHECK-LABEL: func.func @backwards
// CHECK: affine.load %{{.+}}[%{{.+}}, %{{.+}}] : memref<8x1xi8>
// CHECK: affine.load %{{.+}}[-%{{.+}} + 7, %{{.+}}] : memref<8x4xi8>
func.func @backwards(%image: memref<8x1xi8>, %out: memref<8x4xi8>) {
  %copy = memref.alloc() : memref<8x4xi8>
  affine.for %x = 0 to 8 {
    affine.for %c = 0 to 1 {
      %v = affine.load %image[%x, %c] : memref<8x1xi8>
      affine.store %v, %copy[%x, %c] : memref<8x4xi8>
    }
  }
  affine.for %x = 0 to 8 {
    affine.for %c = 0 to 1 {
      %v = affine.load %copy[-%x + 7, %c] : memref<8x4xi8>
      affine.store %v, %out[%x, %c] : memref<8x4xi8>
    }
  }
  return
}
