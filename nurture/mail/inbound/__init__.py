"""Read inbound mail: replies, out-of-office replies, opt-outs and bounce reports."""
