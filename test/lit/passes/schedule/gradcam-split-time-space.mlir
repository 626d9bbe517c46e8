// RUN: %gradcam_opt %s --gradcam-set-platform=pe=4x4 --gradcam-split-time-space --split-input-file --verify-diagnostics | FileCheck %s
// RUN: not %gradcam_opt %s --gradcam-set-platform=pe=4x3 --gradcam-split-time-space --split-input-file 2>&1 | FileCheck %s --check-prefix=PE

// PE: error: pe '4x3' needs powers of two for both sides, such as 16x16

#inside = affine_set<(oh, kh, ow, kw) : (oh * 2 + kh - 1 >= 0, ow * 2 + kw - 1 >= 0)>

// A convolution of stride 2 with padding: output lanes, a sum over input lanes, the bias as its epilogue.
// CHECK-LABEL: func.func @conv
// CHECK-SAME: %[[IMAGE:.+]]: memref<8x8x4xi8>, %[[OUT:.+]]: memref<4x4x8xi32>
// CHECK: %[[R:.+]] = memref.alloca() : memref<4xi32>
// CHECK: %[[X:.+]] = memref.alloc() : memref<8x8x4xi8>
// A stream is read in words of four lanes.
// CHECK: affine.for %[[H:.+]] = 0 to 8
// CHECK-NEXT: affine.for %[[W:.+]] = 0 to 8
// CHECK-NEXT: affine.parallel (%[[L:.+]]) = (0) to (4)
// CHECK-NEXT: %[[V:.+]] = affine.load %[[IMAGE]][%[[H]], %[[W]], %[[L]]]
// CHECK-NEXT: affine.store %[[V]], %[[X]][%[[H]], %[[W]], %[[L]]]
// The buffer of the accumulators is gone.
// CHECK: %[[Y:.+]] = memref.alloc() : memref<4x4x8xi32>
// CHECK-NOT: memref.alloc()
// CHECK: affine.for %[[OCT:.+]] = 0 to 2
// CHECK-NEXT: affine.for %[[OH:.+]] = 0 to 4
// CHECK-NEXT: affine.for %[[OW:.+]] = 0 to 4
// CHECK-NEXT: affine.parallel (%[[O:.+]]) = (0) to (4)
// CHECK-NEXT: affine.store %c0_i32, %[[R]][%[[O]]] : memref<4xi32>
// CHECK: affine.for %[[ICT:.+]] = 0 to 1
// CHECK-NEXT: affine.for %[[KH:.+]] = 0 to 3
// CHECK-NEXT: affine.for %[[KW:.+]] = 0 to 3
// CHECK-NEXT: affine.parallel (%[[O:.+]]) = (0) to (4)
// CHECK-NEXT: %[[S:.+]] = affine.parallel (%[[I:.+]]) = (0) to (4) reduce ("addi") -> (i32)
// CHECK-NEXT: affine.if {{.+}}(%[[OH]], %[[KH]], %[[OW]], %[[KW]]) -> i8
// CHECK-NEXT: affine.load %[[X]][%[[OH]] * 2 + %[[KH]] - 1, %[[OW]] * 2 + %[[KW]] - 1, %[[ICT]] * 4 + %[[I]]]
// CHECK: affine.load {{.+}}[%[[OCT]], %[[ICT]], %[[KH]], %[[KW]], %[[O]], %[[I]]] : memref<2x1x3x3x4x4xi8>
// CHECK: arith.muli
// CHECK: affine.yield
// CHECK: %[[A:.+]] = affine.load %[[R]][%[[O]]]
// CHECK-NEXT: %[[N:.+]] = arith.addi %[[A]], %[[S]]
// CHECK-NEXT: affine.store %[[N]], %[[R]][%[[O]]]
// CHECK: affine.parallel (%[[O:.+]]) = (0) to (4)
// CHECK-NEXT: affine.load %[[R]][%[[O]]]
// CHECK-NEXT: affine.load {{.+}}[%[[OCT]] * 4 + %[[O]]] : memref<8xi32>
// CHECK-NEXT: arith.addi
// CHECK-NEXT: affine.store {{.+}}, %[[Y]][%[[OH]], %[[OW]], %[[OCT]] * 4 + %[[O]]]
// An output stream has one element per step.
// CHECK: affine.for %[[C:.+]] = 0 to 8
// CHECK-NEXT: affine.parallel (%{{.+}}) = (0) to (1)
// CHECK-NEXT: affine.load %[[Y]]
// CHECK-NEXT: affine.store {{.+}}, %[[OUT]][{{.+}}, {{.+}}, %[[C]]]
memref.global "private" constant @w : memref<2x1x3x3x4x4xi8> = dense<3>
memref.global "private" constant @b : memref<8xi32> = dense<5>
func.func @conv(%image: memref<8x8x4xi8>, %out: memref<4x4x8xi32>) {
  %c0_i32 = arith.constant 0 : i32
  %c0_i8 = arith.constant 0 : i8
  %x = memref.alloc() : memref<8x8x4xi8>
  affine.for %h = 0 to 8 {
    affine.for %w = 0 to 8 {
      affine.for %c = 0 to 4 {
        %v = affine.load %image[%h, %w, %c] : memref<8x8x4xi8>
        affine.store %v, %x[%h, %w, %c] : memref<8x8x4xi8>
      }
    }
  }
  %w = memref.get_global @w : memref<2x1x3x3x4x4xi8>
  %b = memref.get_global @b : memref<8xi32>
  %acc = memref.alloc() : memref<4x4x8xi32>
  affine.for %h = 0 to 4 {
    affine.for %w0 = 0 to 4 {
      affine.for %c = 0 to 8 {
        affine.store %c0_i32, %acc[%h, %w0, %c] : memref<4x4x8xi32>
      }
    }
  }
  affine.for %oct = 0 to 2 {
    affine.for %oh = 0 to 4 {
      affine.for %ow = 0 to 4 {
        affine.for %ict = 0 to 1 {
          affine.for %kh = 0 to 3 {
            affine.for %kw = 0 to 3 {
              affine.for %o = 0 to 4 {
                affine.for %i = 0 to 4 {
                  %xv = affine.if #inside(%oh, %kh, %ow, %kw) -> i8 {
                    %l = affine.load %x[%oh * 2 + %kh - 1, %ow * 2 + %kw - 1, %ict * 4 + %i] : memref<8x8x4xi8>
                    affine.yield %l : i8
                  } else {
                    affine.yield %c0_i8 : i8
                  }
                  %wv = affine.load %w[%oct, %ict, %kh, %kw, %o, %i] : memref<2x1x3x3x4x4xi8>
                  %a = affine.load %acc[%oh, %ow, %oct * 4 + %o] : memref<4x4x8xi32>
                  %xe = arith.extsi %xv : i8 to i32
                  %we = arith.extsi %wv : i8 to i32
                  %p = arith.muli %xe, %we : i32
                  %n = arith.addi %a, %p : i32
                  affine.store %n, %acc[%oh, %ow, %oct * 4 + %o] : memref<4x4x8xi32>
                }
              }
            }
          }
        }
      }
    }
  }
  %y = memref.alloc() : memref<4x4x8xi32>
  affine.for %h = 0 to 4 {
    affine.for %w0 = 0 to 4 {
      affine.for %c = 0 to 8 {
        %a = affine.load %acc[%h, %w0, %c] : memref<4x4x8xi32>
        %bv = affine.load %b[%c] : memref<8xi32>
        %n = arith.addi %a, %bv : i32
        affine.store %n, %y[%h, %w0, %c] : memref<4x4x8xi32>
      }
    }
  }
  affine.for %h = 0 to 4 {
    affine.for %w0 = 0 to 4 {
      affine.for %c = 0 to 8 {
        %v = affine.load %y[%h, %w0, %c] : memref<4x4x8xi32>
        affine.store %v, %out[%h, %w0, %c] : memref<4x4x8xi32>
      }
    }
  }
  return
}

// -----

// A lane loop longer than the array is tiled; a maximum has no adder tree.
// CHECK-LABEL: func.func @maximum
// CHECK: affine.for %[[T:.+]] = 0 to 3
// CHECK-NEXT: affine.parallel (%[[L:.+]]) = (0) to (4)
// CHECK-NEXT: affine.load {{.+}}[%[[T]] * 4 + %[[L]]] : memref<12xi32>
// CHECK: affine.parallel (%{{.+}}) = (0) to (1)
// CHECK-NEXT: affine.store %c-7_i32
// CHECK: affine.for %[[I:.+]] = 0 to 12
// CHECK-NEXT: affine.parallel (%[[L:.+]]) = (0) to (1)
// CHECK-NEXT: affine.load {{.+}}[%[[I]]] : memref<12xi32>
// CHECK-NOT: reduce
// CHECK: arith.maxsi
func.func @maximum(%out: memref<1xi32>) {
  %c-7_i32 = arith.constant -7 : i32
  %c1_i32 = arith.constant 1 : i32
  %x = memref.alloc() : memref<12xi32>
  %y = memref.alloc() : memref<12xi32>
  affine.for %i = 0 to 12 {
    %v = affine.load %x[%i] : memref<12xi32>
    %n = arith.addi %v, %c1_i32 : i32
    affine.store %n, %y[%i] : memref<12xi32>
  }
  %m = memref.alloc() : memref<1xi32>
  affine.for %i = 0 to 1 {
    affine.store %c-7_i32, %m[%i] : memref<1xi32>
  }
  affine.for %i = 0 to 12 {
    %v = affine.load %y[%i] : memref<12xi32>
    %a = affine.load %m[0] : memref<1xi32>
    %n = arith.maxsi %a, %v : i32
    affine.store %n, %m[0] : memref<1xi32>
  }
  affine.for %i = 0 to 1 {
    %v = affine.load %m[%i] : memref<1xi32>
    affine.store %v, %out[%i] : memref<1xi32>
  }
  return
}

// -----

// A buffer that several nests put together: the fill of the whole stays a nest, the start values of the sums do not. One
// epilogue stores a value and its mask. The reader of the whole is no epilogue of the nest that makes a part of it.
// CHECK-LABEL: func.func @parts
// CHECK: %[[Y:.+]] = memref.alloc() : memref<8x4xi32>
// CHECK: %[[M:.+]] = memref.alloc() : memref<4x4xi1>
// CHECK: affine.for %[[I:.+]] = 0 to 8
// CHECK-NEXT: affine.parallel (%[[L:.+]]) = (0) to (4)
// CHECK-NEXT: affine.store %c9_i32, %[[Y]][%[[I]], %[[L]]]
// CHECK: affine.for %[[I:.+]] = 0 to 4
// CHECK-NEXT: affine.parallel (%[[L:.+]]) = (0) to (4)
// CHECK-NEXT: affine.store %c0_i32, %[[R:.+]][%[[L]]] : memref<4xi32>
// CHECK: arith.addi
// CHECK: affine.parallel (%[[L:.+]]) = (0) to (4)
// CHECK-NEXT: %[[V:.+]] = affine.load %[[R]][%[[L]]] : memref<4xi32>
// CHECK-NEXT: %[[P:.+]] = arith.cmpi sgt, %[[V]], %c0_i32
// CHECK-NEXT: affine.store %[[V]], %[[Y]][%[[I]] * 2, %[[L]]] : memref<8x4xi32>
// CHECK-NEXT: affine.store %[[P]], %[[M]][%[[I]], %[[L]]] : memref<4x4xi1>
// CHECK: affine.for %[[I:.+]] = 0 to 4
// CHECK-NEXT: affine.parallel (%[[L:.+]]) = (0) to (4)
// CHECK-NEXT: affine.store %c0_i32, %[[R:.+]][%[[L]]] : memref<4xi32>
// CHECK: arith.addi
// CHECK: affine.parallel (%[[L:.+]]) = (0) to (4)
// CHECK-NEXT: %[[V:.+]] = affine.load %[[R]][%[[L]]] : memref<4xi32>
// CHECK-NEXT: affine.store %[[V]], %[[Y]][%[[I]] * 2 + 1, %[[L]]] : memref<8x4xi32>
// CHECK: affine.for %[[I:.+]] = 0 to 8
// CHECK-NEXT: affine.parallel (%[[L:.+]]) = (0) to (4)
// CHECK-NEXT: affine.load %[[Y]][%[[I]], %[[L]]]
// CHECK: affine.load %[[M]][0, %{{.+}}] : memref<4x4xi1>
func.func @parts(%out: memref<8x4xi32>) {
  %c0_i32 = arith.constant 0 : i32
  %c9_i32 = arith.constant 9 : i32
  %x = memref.alloc() : memref<4x3x4xi32>
  %acc = memref.alloc() : memref<4x4xi32>
  %y = memref.alloc() : memref<8x4xi32>
  %m = memref.alloc() : memref<4x4xi1>
  %z = memref.alloc() : memref<8x4xi32>
  affine.for %i = 0 to 8 {
    affine.for %l = 0 to 4 {
      affine.store %c9_i32, %y[%i, %l] : memref<8x4xi32>
    }
  }
  affine.for %i = 0 to 4 {
    affine.for %l = 0 to 4 {
      affine.store %c0_i32, %acc[%i, %l] : memref<4x4xi32>
    }
  }
  affine.for %i = 0 to 4 {
    affine.for %k = 0 to 3 {
      affine.for %l = 0 to 4 {
        %v = affine.load %x[%i, %k, %l] : memref<4x3x4xi32>
        %a = affine.load %acc[%i, %l] : memref<4x4xi32>
        %n = arith.addi %a, %v : i32
        affine.store %n, %acc[%i, %l] : memref<4x4xi32>
      }
    }
  }
  affine.for %i = 0 to 4 {
    affine.for %l = 0 to 4 {
      %v = affine.load %acc[%i, %l] : memref<4x4xi32>
      %p = arith.cmpi sgt, %v, %c0_i32 : i32
      affine.store %v, %y[%i * 2, %l] : memref<8x4xi32>
      affine.store %p, %m[%i, %l] : memref<4x4xi1>
    }
  }
  affine.for %i = 0 to 4 {
    affine.for %l = 0 to 4 {
      affine.store %c0_i32, %y[%i * 2 + 1, %l] : memref<8x4xi32>
    }
  }
  affine.for %i = 0 to 4 {
    affine.for %k = 0 to 3 {
      affine.for %l = 0 to 4 {
        %v = affine.load %x[%i, %k, %l] : memref<4x3x4xi32>
        %a = affine.load %y[%i * 2 + 1, %l] : memref<8x4xi32>
        %n = arith.addi %a, %v : i32
        affine.store %n, %y[%i * 2 + 1, %l] : memref<8x4xi32>
      }
    }
  }
  affine.for %i = 0 to 8 {
    affine.for %l = 0 to 4 {
      %v = affine.load %y[%i, %l] : memref<8x4xi32>
      %p = affine.load %m[0, %l] : memref<4x4xi1>
      %n = arith.select %p, %v, %c0_i32 : i32
      affine.store %n, %z[%i, %l] : memref<8x4xi32>
    }
  }
  affine.for %i = 0 to 8 {
    affine.for %l = 0 to 4 {
      %v = affine.load %z[%i, %l] : memref<8x4xi32>
      affine.store %v, %out[%i, %l] : memref<8x4xi32>
    }
  }
  return
}

// -----

// A reduction may read its operand from another part of the buffer that it stores to: only the loads of the element that
// it stores become loads of the accumulator. The fill of a third part stays a nest.
// CHECK-LABEL: func.func @beside
// CHECK: %[[R:.+]] = memref.alloca() : memref<4xi8>
// CHECK: %[[Y:.+]] = memref.alloc() : memref<5x12xi8>
// CHECK: affine.parallel (%[[L:.+]]) = (0) to (4)
// CHECK-NEXT: affine.store %c7_i8, %[[Y]][%{{.+}}, %[[L]] + 8]
// CHECK: affine.for %[[I:.+]] = 0 to 5
// CHECK-NEXT: affine.parallel (%[[L:.+]]) = (0) to (4)
// CHECK-NEXT: affine.store %c-128_i8, %[[R]][%[[L]]] : memref<4xi8>
// CHECK: affine.for %[[K:.+]] = 0 to 3
// CHECK-NEXT: affine.parallel (%[[L:.+]]) = (0) to (4)
// CHECK-NEXT: %[[V:.+]] = affine.if
// CHECK-NEXT: affine.load %[[Y]][%[[I]] + %[[K]] - 1, %[[L]]] : memref<5x12xi8>
// CHECK: %[[A:.+]] = affine.load %[[R]][%[[L]]]
// CHECK-NEXT: %[[N:.+]] = arith.maxsi %[[A]], %[[V]]
// CHECK-NEXT: affine.store %[[N]], %[[R]][%[[L]]]
// CHECK: affine.parallel (%[[L:.+]]) = (0) to (4)
// CHECK-NEXT: affine.load %[[R]][%[[L]]]
// CHECK-NEXT: affine.store {{.+}}, %[[Y]][%[[I]], %[[L]] + 4]
#inside = affine_set<(d0, d1) : (d0 + d1 - 1 >= 0, -d0 - d1 + 5 >= 0)>
func.func @beside(%out: memref<5x12xi8>) {
  %low = arith.constant -128 : i8
  %c7_i8 = arith.constant 7 : i8
  %y = memref.alloc() : memref<5x12xi8>
  affine.for %i = 0 to 5 {
    affine.for %l = 0 to 4 {
      affine.store %low, %y[%i, %l + 4] : memref<5x12xi8>
    }
  }
  affine.for %i = 0 to 5 {
    affine.for %l = 0 to 4 {
      affine.store %c7_i8, %y[%i, %l + 8] : memref<5x12xi8>
    }
  }
  affine.for %i = 0 to 5 {
    affine.for %k = 0 to 3 {
      affine.for %l = 0 to 4 {
        %v = affine.if #inside(%i, %k) -> i8 {
          %x = affine.load %y[%i + %k - 1, %l] : memref<5x12xi8>
          affine.yield %x : i8
        } else {
          affine.yield %low : i8
        }
        %a = affine.load %y[%i, %l + 4] : memref<5x12xi8>
        %n = arith.maxsi %a, %v : i8
        affine.store %n, %y[%i, %l + 4] : memref<5x12xi8>
      }
    }
  }
  affine.for %i = 0 to 5 {
    affine.for %l = 0 to 12 {
      %v = affine.load %y[%i, %l] : memref<5x12xi8>
      affine.store %v, %out[%i, %l] : memref<5x12xi8>
    }
  }
  return
}

// -----

// A nest that reads only a part of the sums is no epilogue of their reduction.
// CHECK-LABEL: func.func @fewer
// CHECK: %[[ACC:.+]] = memref.alloc() : memref<5x4xi32>
// CHECK: arith.addi
// CHECK: affine.store {{.+}}, %[[ACC]]
// CHECK: affine.for %[[I:.+]] = 0 to 3
// CHECK-NEXT: affine.parallel (%[[L:.+]]) = (0) to (2)
// CHECK-NEXT: affine.load %[[ACC]][%[[I]], %[[L]]]
func.func @fewer(%out: memref<3x2xi32>) {
  %c0_i32 = arith.constant 0 : i32
  %x = memref.alloc() : memref<5x3x4xi32>
  %acc = memref.alloc() : memref<5x4xi32>
  %y = memref.alloc() : memref<3x2xi32>
  affine.for %i = 0 to 5 {
    affine.for %l = 0 to 4 {
      affine.store %c0_i32, %acc[%i, %l] : memref<5x4xi32>
    }
  }
  affine.for %i = 0 to 5 {
    affine.for %k = 0 to 3 {
      affine.for %l = 0 to 4 {
        %v = affine.load %x[%i, %k, %l] : memref<5x3x4xi32>
        %a = affine.load %acc[%i, %l] : memref<5x4xi32>
        %n = arith.addi %a, %v : i32
        affine.store %n, %acc[%i, %l] : memref<5x4xi32>
      }
    }
  }
  affine.for %i = 0 to 3 {
    affine.for %l = 0 to 2 {
      %v = affine.load %acc[%i, %l] : memref<5x4xi32>
      %n = arith.maxsi %v, %c0_i32 : i32
      affine.store %n, %y[%i, %l] : memref<3x2xi32>
    }
  }
  affine.for %i = 0 to 3 {
    affine.for %l = 0 to 2 {
      %v = affine.load %y[%i, %l] : memref<3x2xi32>
      affine.store %v, %out[%i, %l] : memref<3x2xi32>
    }
  }
  return
}

// -----

// The fill sets more elements than the sums begin from.
func.func @more(%x: memref<8xi32>) {
  %c0_i32 = arith.constant 0 : i32
  %s = memref.alloc() : memref<2x1xi32>
  affine.for %i = 0 to 2 {
    affine.store %c0_i32, %s[%i, 0] : memref<2x1xi32>
  }
  // expected-error@+1 {{a reduction must load every buffer it stores, and a nest before it must set the buffer to a constant}}
  affine.for %i = 0 to 8 {
    %v = affine.load %x[%i] : memref<8xi32>
    %a = affine.load %s[1, 0] : memref<2x1xi32>
    %n = arith.addi %a, %v : i32
    affine.store %n, %s[1, 0] : memref<2x1xi32>
  }
  return
}

// -----

func.func @between(%x: memref<3x8xi32>) {
  %c0_i32 = arith.constant 0 : i32
  %s = memref.alloc() : memref<8xi32>
  affine.for %i = 0 to 8 {
    affine.store %c0_i32, %s[%i] : memref<8xi32>
  }
  affine.for %i = 0 to 7 {
    affine.for %k = 0 to 3 {
      // expected-error@+1 {{a reduction must not read elements it stores elsewhere; give it a buffer of its own}}
      %v = affine.load %s[%i + 1] : memref<8xi32>
      %a = affine.load %s[%i] : memref<8xi32>
      %n = arith.addi %a, %v : i32
      affine.store %n, %s[%i] : memref<8xi32>
    }
  }
  return
}

// -----

func.func @step(%x: memref<8xi32>, %y: memref<8xi32>) {
  // expected-error@+1 {{a loop must run from 0 to a constant by step 1; run affine-loop-normalize first}}
  affine.for %i = 0 to 8 step 2 {
    %v = affine.load %x[%i] : memref<8xi32>
    affine.store %v, %y[%i] : memref<8xi32>
  }
  return
}

// -----

func.func @imperfect(%x: memref<8xi32>, %y: memref<8xi32>) {
  affine.for %i = 0 to 8 {
    %v = affine.load %x[%i] : memref<8xi32>
    // expected-error@+1 {{'affine.for' stands beside other ops in a loop; only perfect nests are split}}
    affine.for %j = 0 to 8 {
      affine.store %v, %y[%j] : memref<8xi32>
    }
  }
  return
}

// -----

func.func @nothing(%x: memref<8xi32>) {
  // expected-error@+1 {{the nest stores nothing; remove it with canonicalize}}
  affine.for %i = 0 to 8 {
    %v = affine.load %x[%i] : memref<8xi32>
  }
  return
}

// -----

#even = affine_set<(d0) : (d0 == 0)>
func.func @equality(%x: memref<8xi32>, %y: memref<8xi32>) {
  %c0 = arith.constant 0 : i32
  affine.for %i = 0 to 8 {
    // expected-error@+1 {{a padding condition may hold inequalities only, not '=='}}
    %v = affine.if #even(%i) -> i32 {
      %l = affine.load %x[%i] : memref<8xi32>
      affine.yield %l : i32
    } else {
      affine.yield %c0 : i32
    }
    affine.store %v, %y[%i] : memref<8xi32>
  }
  return
}

// -----

#low = affine_set<(d0) : (d0 - 1 >= 0)>
func.func @choice(%x: memref<8xi32>, %y: memref<8xi32>) {
  %c0 = arith.constant 0 : i32
  affine.for %i = 0 to 8 {
    // expected-error@+1 {{affine.if must choose between one load and a constant}}
    %v = affine.if #low(%i) -> i32 {
      affine.yield %c0 : i32
    } else {
      affine.yield %c0 : i32
    }
    affine.store %v, %y[%i] : memref<8xi32>
  }
  return
}

// -----

func.func @modulo(%x: memref<8xi32>, %y: memref<8xi32>) {
  affine.for %i = 0 to 8 {
    // expected-error@+1 {{'d0 mod 2' is not linear; only loops times constants}}
    %v = affine.load %x[%i mod 2] : memref<8xi32>
    affine.store %v, %y[%i] : memref<8xi32>
  }
  return
}

// -----

func.func @uninitialized(%x: memref<8xi32>) {
  %s = memref.alloc() : memref<1xi32>
  // expected-error@+1 {{a reduction must load every buffer it stores, and a nest before it must set the buffer to a constant}}
  affine.for %i = 0 to 8 {
    %v = affine.load %x[%i] : memref<8xi32>
    %a = affine.load %s[0] : memref<1xi32>
    %n = arith.addi %a, %v : i32
    affine.store %n, %s[0] : memref<1xi32>
  }
  return
}

// -----

func.func @wide(%x: memref<2x8xi32>) {
  %c0 = arith.constant 0 : i32
  %s = memref.alloc() : memref<8xi32>
  affine.for %i = 0 to 8 {
    affine.store %c0, %s[%i] : memref<8xi32>
  }
  // expected-error@+1 {{8 output lanes do not fit the 4x4 array; run gradcam-set-platform before convert-gradcam-to-linalg}}
  affine.for %k = 0 to 2 {
    affine.for %i = 0 to 8 {
      %v = affine.load %x[%k, %i] : memref<2x8xi32>
      %a = affine.load %s[%i] : memref<8xi32>
      %n = arith.addi %a, %v : i32
      affine.store %n, %s[%i] : memref<8xi32>
    }
  }
  return
}

// -----

// A loop that is read as a number stays in time.

// CHECK-LABEL: func.func @number
// CHECK: affine.for [[I:%.+]] = 0 to 8 {
// CHECK-NEXT: affine.parallel ({{%.+}}) = (0) to (1) {
// CHECK-NEXT: [[V:%.+]] = arith.index_cast [[I]]
// CHECK-NEXT: affine.store [[V]], {{%.+}}{{\[}}[[I]]]
func.func @number() {
  %y = memref.alloc() : memref<8xi32>
  affine.for %i = 0 to 8 {
    %v = arith.index_cast %i : index to i32
    affine.store %v, %y[%i] : memref<8xi32>
  }
  return
}

// -----

func.func @number_behind_a_sum(%x: memref<3x8xi32>, %w: memref<2x4x3xi32>) {
  %c0 = arith.constant 0 : i32
  %s = memref.alloc() : memref<8xi32>
  %y = memref.alloc() : memref<8xi32>
  affine.for %i = 0 to 8 {
    affine.store %c0, %s[%i] : memref<8xi32>
  }
  affine.for %t = 0 to 2 {
    affine.for %k = 0 to 3 {
      affine.for %o = 0 to 4 {
        %v = affine.load %x[%k, %t * 4 + %o] : memref<3x8xi32>
        %a = affine.load %s[%t * 4 + %o] : memref<8xi32>
        %n = arith.addi %a, %v : i32
        affine.store %n, %s[%t * 4 + %o] : memref<8xi32>
      }
    }
  }
  affine.for %i = 0 to 8 {
    %a = affine.load %s[%i] : memref<8xi32>
    // expected-error@+1 {{a loop over more lanes than the 4x4 array has cannot be used as a value}}
    %v = arith.index_cast %i : index to i32
    %n = arith.addi %a, %v : i32
    affine.store %n, %y[%i] : memref<8xi32>
  }
  return
}

// -----

#border = affine_set<(oh, kh, ow, tap) : (oh + kh - 1 >= 0, -oh - kh + 3 >= 0, ow + tap - 1 >= 0, -ow - tap + 4 >= 0)>

// A depthwise convolution with three taps in a word of weights: the taps become space, and the sums slide along the row.
// Position 0 only begins sums; another position before it would read nothing but padding.
// CHECK-LABEL: func.func @taps
// CHECK-DAG: %[[KEPT:.+]] = memref.alloca() : memref<12xi32>
// CHECK-DAG: %[[ACC:.+]] = memref.alloca() : memref<12xi32>
// CHECK: affine.for %[[CT:.+]] = 0 to 2
// CHECK-NEXT: affine.for %[[OH:.+]] = 0 to 3
// CHECK-NEXT: affine.for %[[U:.+]] = 0 to 5
// CHECK-NEXT: affine.parallel (%[[I:.+]]) = (0) to (12)
// CHECK-NEXT: %[[OLD:.+]] = affine.load %[[FROM:.+]][%[[I]]] : memref<12xi32>
// CHECK-NEXT: affine.store %[[OLD]], %[[TO:.+]][%[[I]]] : memref<12xi32>
// CHECK: affine.parallel (%[[I:.+]]) = (0) to (12)
// CHECK-NEXT: %[[START:.+]] = affine.if {{.+}}(%[[U]], %[[I]]) -> i32
// CHECK-NEXT: affine.load %[[TO]][%[[I]] - 4] : memref<12xi32>
// CHECK: affine.yield %c0_i32
// CHECK: affine.store %[[START]], %[[FROM]][%[[I]]] : memref<12xi32>
// CHECK: affine.for %[[KH:.+]] = 0 to 3
// CHECK-NEXT: affine.parallel (%[[TAP:.+]], %[[L:.+]]) = (0, 0) to (3, 4)
// CHECK: affine.load {{.+}}[%[[OH]] + %[[KH]] - 1, %[[U]], %[[CT]] * 4 + %[[L]]] : memref<3x4x8xi8>
// CHECK: affine.load {{.+}}[%[[CT]], %[[KH]], %[[TAP]], %[[L]]] : memref<2x3x3x4xi8>
// CHECK: affine.load %[[FROM]][%[[TAP]] * 4 + %[[L]]]
// CHECK: affine.store {{.+}}, %[[FROM]][%[[TAP]] * 4 + %[[L]]]
// The sum is complete under the last tap.
// CHECK: affine.parallel (%[[L:.+]]) = (0) to (4)
// CHECK-NEXT: %[[SUM:.+]] = affine.load %[[FROM]][%[[L]] + 8]
// CHECK-NEXT: affine.if {{.+}}(%[[U]])
// CHECK-NEXT: affine.store %[[SUM]], {{.+}}[%[[OH]], %[[U]] - 1, %[[CT]] * 4 + %[[L]]]
memref.global "private" constant @w : memref<2x3x3x4xi8> = dense<3>
func.func @taps(%out: memref<3x4x8xi32>) {
  %c0_i32 = arith.constant 0 : i32
  %c0_i8 = arith.constant 0 : i8
  %x = memref.alloc() : memref<3x4x8xi8>
  %w = memref.get_global @w : memref<2x3x3x4xi8>
  %acc = memref.alloc() : memref<3x4x8xi32>
  affine.for %h = 0 to 3 {
    affine.for %w0 = 0 to 4 {
      affine.for %c = 0 to 8 {
        affine.store %c0_i32, %acc[%h, %w0, %c] : memref<3x4x8xi32>
      }
    }
  }
  affine.for %ct = 0 to 2 {
    affine.for %oh = 0 to 3 {
      affine.for %ow = 0 to 4 {
        affine.for %kh = 0 to 3 {
          affine.for %tap = 0 to 3 {
            affine.for %l = 0 to 4 {
              %v = affine.if #border(%oh, %kh, %ow, %tap) -> i8 {
                %i = affine.load %x[%oh + %kh - 1, %ow + %tap - 1, %ct * 4 + %l] : memref<3x4x8xi8>
                affine.yield %i : i8
              } else {
                affine.yield %c0_i8 : i8
              }
              %k = affine.load %w[%ct, %kh, %tap, %l] : memref<2x3x3x4xi8>
              %s = affine.load %acc[%oh, %ow, %ct * 4 + %l] : memref<3x4x8xi32>
              %a = arith.extsi %v : i8 to i16
              %b = arith.extsi %k : i8 to i16
              %p = arith.muli %a, %b : i16
              %e = arith.extsi %p : i16 to i32
              %n = arith.addi %s, %e : i32
              affine.store %n, %acc[%oh, %ow, %ct * 4 + %l] : memref<3x4x8xi32>
            }
          }
        }
      }
    }
  }
  affine.for %h = 0 to 3 {
    affine.for %w0 = 0 to 4 {
      affine.for %c = 0 to 8 {
        %v = affine.load %acc[%h, %w0, %c] : memref<3x4x8xi32>
        affine.store %v, %out[%h, %w0, %c] : memref<3x4x8xi32>
      }
    }
  }
  return
}

// -----

// Of the sums of all lanes one is read, by a number that is known at run time: the epilogue has one lane, and so has the
// buffer behind it.
// CHECK-LABEL: func.func @one_lane
// CHECK: %[[R:.+]] = memref.alloca() : memref<4xi32>
// CHECK: %[[C:.+]] = arith.index_cast
// CHECK: %[[MAP:.+]] = memref.alloc() : memref<3x2x1xi32>
// CHECK-NOT: memref.alloc()
// CHECK: affine.for %[[H:.+]] = 0 to 3
// CHECK-NEXT: affine.for %[[W:.+]] = 0 to 2
// CHECK: affine.for %{{.+}} = 0 to 5
// CHECK-NEXT: affine.parallel (%{{.+}}) = (0) to (4)
// CHECK: affine.parallel (%{{.+}}) = (0) to (1)
// CHECK-NEXT: %[[V:.+]] = affine.load %[[R]][symbol(%[[C]]) mod 4]
// CHECK-NEXT: affine.store %[[V]], %[[MAP]][%[[H]], %[[W]], 0]
func.func @one_lane(%out: memref<3x2xi32>) {
  %c0 = arith.constant 0 : index
  %c0_i32 = arith.constant 0 : i32
  %x = memref.alloc() : memref<3x2x20xi8>
  %r = memref.alloc() : memref<1xi32>
  %n = memref.load %r[%c0] : memref<1xi32>
  %class = arith.index_cast %n : i32 to index
  %acc = memref.alloc() : memref<3x2x4xi32>
  affine.for %h = 0 to 3 {
    affine.for %w = 0 to 2 {
      affine.for %c = 0 to 4 {
        affine.store %c0_i32, %acc[%h, %w, %c] : memref<3x2x4xi32>
      }
    }
  }
  affine.for %h = 0 to 3 {
    affine.for %w = 0 to 2 {
      affine.for %k = 0 to 5 {
        affine.for %l = 0 to 4 {
          %v = affine.load %x[%h, %w, %k * 4 + %l] : memref<3x2x20xi8>
          %s = affine.load %acc[%h, %w, %l] : memref<3x2x4xi32>
          %e = arith.extsi %v : i8 to i32
          %t = arith.addi %s, %e : i32
          affine.store %t, %acc[%h, %w, %l] : memref<3x2x4xi32>
        }
      }
    }
  }
  %map = memref.alloc() : memref<3x2x1xi32>
  affine.for %h = 0 to 3 {
    affine.for %w = 0 to 2 {
      affine.for %l = 0 to 1 {
        %v = affine.load %acc[%h, %w, symbol(%class) mod 4] : memref<3x2x4xi32>
        affine.store %v, %map[%h, %w, %l] : memref<3x2x1xi32>
      }
    }
  }
  affine.for %h = 0 to 3 {
    affine.for %w = 0 to 2 {
      %v = affine.load %map[%h, %w, 0] : memref<3x2x1xi32>
      affine.store %v, %out[%h, %w] : memref<3x2xi32>
    }
  }
  return
}
