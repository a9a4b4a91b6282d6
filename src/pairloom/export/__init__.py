"""A model in other forms than its folder's own."""
