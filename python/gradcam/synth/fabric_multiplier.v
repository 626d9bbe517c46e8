// Multiplier of signed numbers without a DSP slice, for a part that has too few of them: two registered sums of partial
// products, and their sum. A template for one module of a design; see instances.py.
module ${name} (
  input clk, input signed [$left-1:0] a, input signed [$right-1:0] b, output reg signed [$left+$right-1:0] product
);
  // The factor with fewer bits has a partial product for each of them; its highest bit counts with a minus.
  localparam MORE = $left > $right ? $left : $right, FEWER = $left > $right ? $right : $left, HALF = FEWER / 2;
  reg signed [MORE-1:0] more;
  reg signed [FEWER-1:0] fewer;
  reg signed [$left+$right-1:0] low, high;

  function automatic signed [$left+$right-1:0] partial(input integer first, last);
    integer i;
    begin
      partial = 0;
      for (i = first; i < last; i = i + 1)
        partial = partial + (!fewer[i] ? 0 : i == FEWER - 1 ? -(more <<< i) : more <<< i);
    end
  endfunction

  always @(posedge clk) begin
    more <= $left > $right ? a : b;
    fewer <= $left > $right ? b : a;
    low <= partial(0, HALF);
    high <= partial(HALF, FEWER);
    product <= low + high;
  end
endmodule
