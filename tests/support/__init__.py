"""What the tests share: servers in processes of their own, and clients that talk HTTP to them."""
