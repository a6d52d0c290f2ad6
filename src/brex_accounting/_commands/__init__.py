"""The commands, a room for each. They need the extra `cli`; importing the SDK pulls in none of them."""
