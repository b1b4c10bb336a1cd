"""Histories in which the translator and the oracle once differed, or that chance makes too seldom."""

# name: (configuration, steps of a time in seconds and a packet)
REGRESSIONS: dict[str, tuple[str, list[tuple[float, str]]]] = {
    "rfc7915_5_1_1_authentication_behind_the_fragment_header_of_a_fragment_is_dropped": (
        "no state: the prefix alone, zero checksums calculated",
        [(1.0, "6000000000082c4020010db80064000000000000c000020120010db80064000000000000080808083300000100000001")],
    ),
    "rfc792_the_unused_word_of_source_route_failed_is_zero": (
        "two addresses",
        [(1000.0, "4700002cffff00004011981b09090909c00002010189070401020304ffff07d0001044f0a2a9b0b7bec5ccd3")],
    ),
    "rfc6146_3_5_1_1_parity_is_kept_although_the_port_range_cannot_be": (
        "two addresses",
        [
            (
                1000.0,
                "60000000000a114020010db800060000000000000000000120010db80064000000000000080808080050ffff000a93960007",
            )
        ],
    ),
    "rfc7915_5_1_1_an_error_in_an_atomic_fragment_keeps_its_identification": (
        "two addresses",
        [
            (
                1059.0,
                (
                    "6b8000000030004020010db800060000000000000000000220010db80064000000000000080808083c01010c"
                    "0000000000000000000000002b000104000000001100fd00000000001388138800100000adb4bbc2c9d0d7de"
                ),
            ),
            (
                1089.0,
                (
                    "6000000000502c4020010db800060000000000000000000220010db80064000000000000080808083a000000"
                    "027400010101e452000000006000000000183c4020010db800640000000000000808080820010db800060000"
                    "000000000000000211000104000000001388138800100a52838a91989f"
                ),
            ),
        ],
    ),
    "rfc6052_3_1_the_other_end_of_a_packet_without_state_is_no_private_address_either": (
        "no state: well-known prefix, rows of unequal suffixes, small MTUs",
        [
            (1000.0, "4500001c00010000401160b9080808080a08ffff138813880008beb6"),
            (
                1000.0,
                "60000000000911400064ff9b00000000000000000a0102030064ff9b000000000000000008080808138800350009580b78",
            ),
        ],
    ),
    "rfc792_a_quoted_packet_of_another_protocol_may_be_shorter_than_8_octets": (
        "no state: the prefix alone, zero checksums calculated",
        [
            (
                1000.0,
                (
                    "450000340001000040013c9401010101cb0071320b00f4ff000000004500001800010000402f2e74cb007132"
                    "0808080800000000"
                ),
            )
        ],
    ),
    "rfc7915_4_2_igmp_is_silently_dropped_without_state_too": (
        "no state: the prefix alone, zero checksums calculated",
        [(1000.0, "4500001c0001000040022c9b09090909cb0071320000000000000000")],
    ),
    "rfc7915_4_5_without_state_a_checksum_is_calculated_as_well": (
        "no state: the prefix alone, zero checksums calculated",
        [
            (
                1000.0,
                "600000000009114020010db80064000000000000cb00713220010db8006400000000000008080808138800350009000078",
            )
        ],
    ),
    "rfc7915_4_1_an_error_of_an_illegal_source_to_a_row": (
        "sessions and rows",
        [
            (
                1000.0,
                (
                    "4500003900010000400139b27f000001c00002100b00c73a000000004500001d000100004011a8afc0000210"
                    "08080808138800350009a1fe78"
                ),
            )
        ],
    ),
    "rfc7915_4_3_an_error_about_an_error_to_a_row": (
        "sessions and rows",
        [
            (
                1000.0,
                (
                    "45000055000100004001b69501010101c00002100b00f4ff0000000045000039000100004001a8a3c0000210"
                    "080808080b00c73a000000004500001d000100004011a8afc000021008080808138800350009a1fe78"
                ),
            )
        ],
    ),
    "rfc7915_4_1_icmpv6_in_ipv4_to_a_row": (
        "sessions and rows",
        [(1000.0, "4500001c00010000403aa88708080808c00002108000000000010001")],
    ),
    "rfc791_3_1_an_option_of_length_0_to_a_row": (
        "sessions and rows",
        [(1000.0, "46000021000100004011a0ab08080808c000021007000000003513880009a1fe78")],
    ),
    "rfc7757_4_2_2_a_host_with_sessions_and_one_with_a_row_meet": (
        "sessions and rows",
        [
            (
                1000.0,
                (
                    "60000000000d114020010db800060000000000000000000120010db80064000000c000021000000013880035"
                    "000d3ba668656c6c6f"
                ),
            ),
            (
                1000.0,
                (
                    "60000000000d114020010db8000e0000000000000000000020010db80064000000c000020100000000350400"
                    "000d5a2768656c6c6f"
                ),
            ),
        ],
    ),
    "rfc6146_3_5_2_2_a_later_fragment_of_a_rst_is_no_packet_after_it": (
        "two addresses",
        [
            (
                1000.0,
                (
                    "600000000014064020010db800060000000000000000000120010db80064000000000000080808081388005"
                    "0000003e8000007d05002004024260000"
                ),
            ),
            (1000.0, "45000028000100004006a8be08080808c000020100504594000003e8000007d0501200408be50000"),
            (1001.0, "4500002c004d20004006886e08080808c000020100504594000003e8000007d050040040bb16000031323334"),
            (1001.0, "45000018004d00034006a87f08080808c000020135363738"),
            (8442.0, "45000028000100004006a8be08080808c000020100504594000003e8000007d0501000408be70000"),
        ],
    ),
    "rfc768_a_checksum_covers_the_octets_that_the_length_of_the_datagram_says": (
        "two addresses",
        [
            (
                1000.0,
                (
                    "600000000016114020010db800060000000000000000000120010db800640000000000000808080813880035"
                    "000d000068656c6c6f20616e64206d6f7265"
                ),
            ),
        ],
    ),
    "rfc7915_5_1_1_an_extension_header_in_a_fragment_goes_on_in_the_next_one": (
        "address-dependent filtering, traffic class set, zero checksums forwarded",
        [
            (
                1000.0,
                (
                    "6ff0000000392b0120010db80006000000000000000000023fff00640808080800000000000000002c00fd00"
                    "000000003c00000100000001061d01040000000000350035000007d00000041050020040ec2f0000272e353c"
                    "434a51585f666d747b"
                ),
            ),
        ],
    ),
    "rfc8200_4_5_a_fragment_wrong_in_two_ways_is_refused_for_either": (
        "forwards in and outside the pool, low ports, three ports a host",
        [
            (
                91446.099,
                (
                    "6b800000003b3c4020010db800060000000000000000000120010db80100640800080808000000002b000104"
                    "000000002c00fd01000000003c00000100000001060001040000000000500400000003e8000003fdae180040"
                    "d87c0000abb2b9c0c7ced5"
                ),
            ),
        ],
    ),
    "rfc9293_3_10_7_4_a_segment_without_any_flag_says_nothing_of_its_connection": (
        "other protocols too, RSTs checked and believed early",
        [
            (
                1000.0,
                (
                    "600000000014064020010db800060000000000000000000120010db800640000000000000808080813880050"
                    "000003e800000000500220000c360000"
                ),
            ),
            (1000.0, "45000028000100004006a8be08080808c00002010050459400001388000003e950122000606c0000"),
            (
                1000.0,
                (
                    "600000000014064020010db800060000000000000000000120010db800640000000000000808080813880050"
                    "000003e90000138950102000f89d0000"
                ),
            ),
            (
                1001.0,
                (
                    "600000000014064020010db800060000000000000000000120010db800640000000000000808080813880050"
                    "000023280000138950002000d96e0000"
                ),
            ),
            (
                1002.0,
                (
                    "600000000014064020010db800060000000000000000000120010db800640000000000000808080813880050"
                    "000023280000000050042000ecf30000"
                ),
            ),
            (1300.0, "45000028000100004006a8be08080808c00002010050459400001389000003e950102000606d0000"),
        ],
    ),
    "rfc6146_3_4_an_error_in_fragments_quotes_a_protocol_without_ports": (
        "other protocols too, RSTs checked and believed early",
        [
            (99224.671, ("600000000005294020010db800060000000000000000000120010db80064000000000000090909090000000000")),
            (99415.223, ("45b80027ffff00b94029a52a09090909c0000201e7eef5fc030a11181f262d343b424950575e65")),
            (
                99657.249,
                (
                    "6000000002143a4020010db800070000000000000000000120010db80064000000000000090909090102ce62"
                    "400000006000000005a0294020010db800640000000000000909090920010db8000600000000000000000001"
                    "7c838a91989fa6adb4bbc2c9d0d7dee5ecf3fa01080f161d242b323940474e555c636a71787f868d949ba2a9"
                    "b0b7bec5ccd3dae1e8eff6fd040b121920272e353c434a51585f666d747b828990979ea5acb3bac1c8cfd6dd"
                    "e4ebf2f900070e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9e0e7eef5fc030a11"
                    "181f262d343b424950575e656c737a81888f969da4abb2b9c0c7ced5dce3eaf1f8ff060d141b222930373e45"
                    "4c535a61686f767d848b9299a0a7aeb5bcc3cad1d8dfe6edf4fb020910171e252c333a41484f565d646b7279"
                    "80878e959ca3aab1b8bfc6cdd4dbe2e9f0f7fe050c131a21282f363d444b525960676e757c838a91989fa6ad"
                    "b4bbc2c9d0d7dee5ecf3fa01080f161d242b323940474e555c636a71787f868d949ba2a9b0b7bec5ccd3dae1"
                    "e8eff6fd040b121920272e353c434a51585f666d747b828990979ea5acb3bac1c8cfd6dde4ebf2f900070e15"
                    "1c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9e0e7eef5fc030a11181f262d343b4249"
                    "50575e656c737a81888f969da4abb2b9c0c7ced5dce3eaf1f8ff060d141b222930373e454c535a61686f767d"
                    "848b9299a0a7aeb5bcc3cad1d8dfe6edf4fb020910171e252c333a41484f565d20009e8e00080101003e8101"
                ),
            ),
        ],
    ),
    "rfc7915_4_3_a_quoted_later_fragment_of_a_protocol_that_means_nothing_there": (
        "no state: the prefix alone, zero checksums calculated",
        [
            (
                1000.0,
                (
                    "45000058000100004001a89208080808c000020203019395000000004500003c000700323c3aac3dc0000202"
                    "0808080878787878787878787878787878787878787878787878787878787878787878787878787878787878"
                ),
            ),
        ],
    ),
    "rfc7915_4_2_icmp_of_the_wrong_family_between_two_hosts_of_ours": (
        "no state: well-known prefix, rows of unequal suffixes, small MTUs",
        [
            (
                236111.815,
                ("600000000008014020010db8000e000000000000000000000064ff9b0000000000000000c0000215fd00000000000000"),
            ),
        ],
    ),
    "rfc6146_3_5_another_protocol_to_nobody_is_dropped_for_its_destination": (
        "other protocols too, RSTs checked and believed early",
        [
            (1000.0, "6000000000042f4020010db800060000000000000000000120010db8ffff0000000000000000000100000000"),
            (
                1000.0,
                (
                    "6000000000102c4020010db800060000000000000000000120010db8ffff00000000000000000001320004d0"
                    "000000010000000000000000"
                ),
            ),
        ],
    ),
    "rfc7915_4_1_an_error_in_fragments_may_have_an_illegal_source_but_no_echo": (
        "two addresses",
        [
            (
                1000.0,
                (
                    "60000000000d114020010db800060000000000000000000120010db800640000000000000808080813880035"
                    "000d3c5868656c6c6f"
                ),
            ),
            (1000.0, "4500002c00072000400119c77f000001c00002020301cf2f0000000045000021000100004011a8b9c0000202"),
            (1000.0, "4500002500070003400139cb7f000001c0000202080808088b680035000d5e5268656c6c6f"),
            (1000.0, "4500002c00082000400119c67f000001c000020208006c968b68000100000000000000000000000000000000"),
            (1000.0, "4500002c00080003400139c37f000001c0000202000000000000000000000000000000000000000000000000"),
        ],
    ),
    "rfc7857_2_only_segments_that_pass_are_noted": (
        "other protocols too, RSTs checked and believed early",
        [
            (
                13426.76,
                (
                    "6ffabcde04d8064020010db800060000000000000000000220010db80064000000000000c000020113881aa5"
                    "800003e8000003e850030040018000007a81888f969da4abb2b9c0c7ced5dce3eaf1f8ff060d141b22293037"
                    "3e454c535a61686f767d848b9299a0a7aeb5bcc3cad1d8dfe6edf4fb020910171e252c333a41484f565d646b"
                    "727980878e959ca3aab1b8bfc6cdd4dbe2e9f0f7fe050c131a21282f363d444b525960676e757c838a91989f"
                    "a6adb4bbc2c9d0d7dee5ecf3fa01080f161d242b323940474e555c636a71787f868d949ba2a9b0b7bec5ccd3"
                    "dae1e8eff6fd040b121920272e353c434a51585f666d747b828990979ea5acb3bac1c8cfd6dde4ebf2f90007"
                    "0e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9e0e7eef5fc030a11181f262d343b"
                    "424950575e656c737a81888f969da4abb2b9c0c7ced5dce3eaf1f8ff060d141b222930373e454c535a61686f"
                    "767d848b9299a0a7aeb5bcc3cad1d8dfe6edf4fb020910171e252c333a41484f565d646b727980878e959ca3"
                    "aab1b8bfc6cdd4dbe2e9f0f7fe050c131a21282f363d444b525960676e757c838a91989fa6adb4bbc2c9d0d7"
                    "dee5ecf3fa01080f161d242b323940474e555c636a71787f868d949ba2a9b0b7bec5ccd3dae1e8eff6fd040b"
                    "121920272e353c434a51585f666d747b828990979ea5acb3bac1c8cfd6dde4ebf2f900070e151c232a31383f"
                    "464d545b626970777e858c939aa1a8afb6bdc4cbd2d9e0e7eef5fc030a11181f262d343b424950575e656c73"
                    "7a81888f969da4abb2b9c0c7ced5dce3eaf1f8ff060d141b222930373e454c535a61686f767d848b9299a0a7"
                    "aeb5bcc3cad1d8dfe6edf4fb020910171e252c333a41484f565d646b727980878e959ca3aab1b8bfc6cdd4db"
                    "e2e9f0f7fe050c131a21282f363d444b525960676e757c838a91989fa6adb4bbc2c9d0d7dee5ecf3fa01080f"
                    "161d242b323940474e555c636a71787f868d949ba2a9b0b7bec5ccd3dae1e8eff6fd040b121920272e353c43"
                    "4a51585f666d747b828990979ea5acb3bac1c8cfd6dde4ebf2f900070e151c232a31383f464d545b62697077"
                    "7e858c939aa1a8afb6bdc4cbd2d9e0e7eef5fc030a11181f262d343b424950575e656c737a81888f969da4ab"
                    "b2b9c0c7ced5dce3eaf1f8ff060d141b222930373e454c535a61686f767d848b9299a0a7aeb5bcc3cad1d8df"
                    "e6edf4fb020910171e252c333a41484f565d646b727980878e959ca3aab1b8bfc6cdd4dbe2e9f0f7fe050c13"
                    "1a21282f363d444b525960676e757c838a91989fa6adb4bbc2c9d0d7dee5ecf3fa01080f161d242b32394047"
                    "4e555c636a71787f868d949ba2a9b0b7bec5ccd3dae1e8eff6fd040b121920272e353c434a51585f666d747b"
                    "828990979ea5acb3bac1c8cfd6dde4ebf2f900070e151c232a31383f464d545b626970777e858c939aa1a8af"
                    "b6bdc4cbd2d9e0e7eef5fc030a11181f262d343b424950575e656c737a81888f969da4abb2b9c0c7ced5dce3"
                    "eaf1f8ff060d141b222930373e454c535a61686f767d848b9299a0a7aeb5bcc3cad1d8dfe6edf4fb02091017"
                    "1e252c333a41484f565d646b727980878e959ca3aab1b8bfc6cdd4dbe2e9f0f7fe050c131a21282f363d444b"
                    "525960676e757c838a91989fa6adb4bbc2c9d0d7dee5ecf3fa01080f161d242b323940474e555c636a71787f"
                    "868d949ba2a9b0b7bec5ccd3dae1e8eff6fd040b121920272e353c434a51585f666d747b828990979ea5acb3"
                    "bac1c8cf"
                ),
            ),
            (
                13426.76,
                ("45000031ffff00004006f6c4c0000201c00002011aa50a0a000003e9ffffffff50030040c7330000565d646b727980878e"),
            ),
            (
                13426.76,
                (
                    "6000000004d0064020010db800060000000000000000000220010db80064000000000000c000020113881aa5"
                    "ffffffff000003e850050040dbdc0000cdd4dbe2e9f0f7fe050c131a21282f363d444b525960676e757c838a"
                    "91989fa6adb4bbc2c9d0d7dee5ecf3fa01080f161d242b323940474e555c636a71787f868d949ba2a9b0b7be"
                    "c5ccd3dae1e8eff6fd040b121920272e353c434a51585f666d747b828990979ea5acb3bac1c8cfd6dde4ebf2"
                    "f900070e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9e0e7eef5fc030a11181f26"
                    "2d343b424950575e656c737a81888f969da4abb2b9c0c7ced5dce3eaf1f8ff060d141b222930373e454c535a"
                    "61686f767d848b9299a0a7aeb5bcc3cad1d8dfe6edf4fb020910171e252c333a41484f565d646b727980878e"
                    "959ca3aab1b8bfc6cdd4dbe2e9f0f7fe050c131a21282f363d444b525960676e757c838a91989fa6adb4bbc2"
                    "c9d0d7dee5ecf3fa01080f161d242b323940474e555c636a71787f868d949ba2a9b0b7bec5ccd3dae1e8eff6"
                    "fd040b121920272e353c434a51585f666d747b828990979ea5acb3bac1c8cfd6dde4ebf2f900070e151c232a"
                    "31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2d9e0e7eef5fc030a11181f262d343b424950575e"
                    "656c737a81888f969da4abb2b9c0c7ced5dce3eaf1f8ff060d141b222930373e454c535a61686f767d848b92"
                    "99a0a7aeb5bcc3cad1d8dfe6edf4fb020910171e252c333a41484f565d646b727980878e959ca3aab1b8bfc6"
                    "cdd4dbe2e9f0f7fe050c131a21282f363d444b525960676e757c838a91989fa6adb4bbc2c9d0d7dee5ecf3fa"
                    "01080f161d242b323940474e555c636a71787f868d949ba2a9b0b7bec5ccd3dae1e8eff6fd040b121920272e"
                    "353c434a51585f666d747b828990979ea5acb3bac1c8cfd6dde4ebf2f900070e151c232a31383f464d545b62"
                    "6970777e858c939aa1a8afb6bdc4cbd2d9e0e7eef5fc030a11181f262d343b424950575e656c737a81888f96"
                    "9da4abb2b9c0c7ced5dce3eaf1f8ff060d141b222930373e454c535a61686f767d848b9299a0a7aeb5bcc3ca"
                    "d1d8dfe6edf4fb020910171e252c333a41484f565d646b727980878e959ca3aab1b8bfc6cdd4dbe2e9f0f7fe"
                    "050c131a21282f363d444b525960676e757c838a91989fa6adb4bbc2c9d0d7dee5ecf3fa01080f161d242b32"
                    "3940474e555c636a71787f868d949ba2a9b0b7bec5ccd3dae1e8eff6fd040b121920272e353c434a51585f66"
                    "6d747b828990979ea5acb3bac1c8cfd6dde4ebf2f900070e151c232a31383f464d545b626970777e858c939a"
                    "a1a8afb6bdc4cbd2d9e0e7eef5fc030a11181f262d343b424950575e656c737a81888f969da4abb2b9c0c7ce"
                    "d5dce3eaf1f8ff060d141b222930373e454c535a61686f767d848b9299a0a7aeb5bcc3cad1d8dfe6edf4fb02"
                    "0910171e252c333a41484f565d646b727980878e959ca3aab1b8bfc6cdd4dbe2e9f0f7fe050c131a21282f36"
                    "3d444b525960676e757c838a91989fa6adb4bbc2c9d0d7dee5ecf3fa01080f161d242b323940474e555c636a"
                    "71787f868d949ba2a9b0b7bec5ccd3dae1e8eff6fd040b121920272e353c434a51585f666d747b828990979e"
                    "a5acb3bac1c8cfd6dde4ebf2f900070e151c232a31383f464d545b626970777e858c939aa1a8afb6bdc4cbd2"
                    "d9e0e7eef5fc030a11181f262d343b424950575e656c737a81888f969da4abb2b9c0c7ced5dce3ea"
                ),
            ),
            (
                21961.754,
                (
                    "60000000003a3a4020010db800070000000000000000000120010db80064000000000000c00002010402655b"
                    "0000001a6000000000343c0020010db80064000000000000c000020120010db8000600000000000000000001"
                    "1100010400000000ac1c"
                ),
            ),
        ],
    ),
    "rfc6146_3_4_a_later_fragment_to_a_service_is_under_the_prefix_of_its_first_one": (
        "services with prefixes of their own, two of one endpoint under each, beside the well-known one",
        [
            (1000.0, "4500002c000720004011ec58ac100001c00002500035003500289fd1000102030405060708090a0b0c0d0e0f"),
            (1000.0, "450000240007000340110c5eac100001c0000250101112131415161718191a1b1c1d1e1f"),
        ],
    ),
}
