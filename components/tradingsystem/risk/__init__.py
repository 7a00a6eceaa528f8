"""The rules that every order must pass, and the gate that alone says so. It decides; it never sends, and it never enlarges."""
