"""The detector's image: whose pixels can be had from where, and what is shown of them."""
